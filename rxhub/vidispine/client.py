"""Requests to Vidispine's REST API.

A `Client` makes paths out of segments that are quoted one by one, so that no id leads elsewhere, and reads no more
of an answer than it has room for, in no more time than it was given. `configure` names the client that helpers use
which are made without one, as all of Portal's are.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

import httpx
import msgspec

from rxhub.redaction.strings import REDACTED
from rxhub.vidispine.documents import serialize
from rxhub.vidispine.errors import NotConfigured, NotFound, RequestFailed, Unreachable

__all__ = ["Client", "configure", "configured", "path"]

PREFIX = "/API"
MAX_BODY = 64 * 1024 * 1024
EXCERPT = 500

_configured: Client | None = None


def path(*segments: str) -> str:
    """The path of a resource below `/API`, such as `/item/VX-1/metadata`.

    Raises:
        TypeError: if a segment is no text.
        ValueError: if a segment would be lost or lead elsewhere: an empty one, `.` or `..`.
    """
    for segment in segments:
        if not isinstance(segment, str):
            raise TypeError(f"An id or name is a str, but {segment!r} was given.")
        if segment in ("", ".", ".."):
            raise ValueError(f"{segment!r} is no id or name, so the path /{'/'.join(segments)} leads nowhere.")
    # A lone surrogate cannot be quoted; UnicodeEncodeError is a ValueError and names it.
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)


class Client:
    """One Vidispine server and one account on it; safe to share between threads.

    Args:
        url: scheme, host and port, as `http://localhost:8080`; the prefix `/API` is added.
        username: of the account.
        password: of the account. It is shown nowhere.
        timeout: seconds to connect, to wait for each part of an answer, and for the whole of its body.

    Raises:
        ValueError: if the address is no http(s) address, or has more in it than that.
    """

    def __init__(self, url: str, username: str, password: str, *, timeout: float = 30.0) -> None:
        self.url = _address(url)
        if ":" in username:
            raise ValueError(f"The user name {username!r} has a colon in it, which HTTP authentication cannot carry.")
        self.username = username
        self._password = password
        self._timeout = timeout
        self._http = httpx.Client(
            auth=httpx.BasicAuth(username, password),
            timeout=timeout,
            # Plain bytes: what is counted against MAX_BODY is then what takes room.
            headers={"Accept": "application/json, text/plain;q=0.5", "Accept-Encoding": "identity"},
        )

    def __repr__(self) -> str:
        return f"Client({self.url!r}, username={self.username!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, resource: str, *, query: Mapping[str, str] | None = None, runas: str | None = None) -> Any:
        """As `request`, with GET."""
        return self.request("GET", resource, query=query, runas=runas)

    def request(
        self,
        method: str,
        resource: str,
        *,
        query: Mapping[str, str | list[str]] | None = None,
        body: Element | str | None = None,
        runas: str | None = None,
        secrets: Collection[str] = (),
    ) -> Any:
        """Send one request and read its answer.

        Args:
            method: GET, POST, PUT or DELETE.
            resource: the path below `/API`, best made by `path`.
            query: appended to the path, quoted.
            body: an XML document.
            runas: the user in whose name Vidispine acts, instead of the account's own.
            secrets: texts that must not be shown, should the answer repeat them.

        Returns:
            What the JSON of the answer says; the text of an answer in another format; None for an empty one.

        Raises:
            NotFound: if Vidispine answers with status 404.
            RequestFailed: if it answers with another status than 2xx, with broken JSON, or with more than 64 MiB.
            Unreachable: if it does not answer, or not in time.
        """
        headers: dict[str, str] = {}
        if runas is not None:
            if not (runas.isascii() and runas.isprintable()):
                raise ValueError(f"The user name {runas!r} cannot be sent as RunAs: a header is printable ASCII.")
            headers["RunAs"] = runas
        content: bytes | None = None
        if body is not None:
            headers["Content-Type"] = "application/xml"
            content = body.encode() if isinstance(body, str) else serialize(body)
        try:
            status, kind, answer, whole = self._exchange(method, resource, query, content, headers)
        except httpx.HTTPError as error:
            # The error's text tells of address and cause; its request, which carries the password, is not shown.
            raise Unreachable(
                f"{method} {PREFIX}{resource} got no answer from {self.url}: {error or type(error).__name__}"
            ) from error
        if 200 <= status < 300 and whole:
            return self._decoded(method, resource, status, kind, answer, secrets)
        failure = NotFound if status == 404 else RequestFailed
        reason = "" if whole else f" and with more than the {MAX_BODY} bytes that are read"
        raise failure(method, PREFIX + resource, status, self._excerpt(answer, secrets), reason)

    def _exchange(
        self,
        method: str,
        resource: str,
        query: Mapping[str, str | list[str]] | None,
        content: bytes | None,
        headers: dict[str, str],
    ) -> tuple[int, str, bytes, bool]:
        """Status, content type and body, and whether that is the whole of it."""
        end = monotonic() + self._timeout
        with self._http.stream(
            method, self.url + PREFIX + resource, params=query, content=content, headers=headers
        ) as response:
            kind = response.headers.get("Content-Type", "")
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > MAX_BODY:
                    return response.status_code, kind, bytes(body), False
                # httpx limits each read, but a peer that sends byte after byte would never end.
                if monotonic() > end:
                    raise httpx.ReadTimeout(f"the answer was still coming after {self._timeout:g} s")
            return response.status_code, kind, bytes(body), True

    def _decoded(
        self, method: str, resource: str, status: int, kind: str, answer: bytes, secrets: Collection[str]
    ) -> Any:
        if not answer.strip():
            return None
        if "json" not in kind:
            return answer.decode(errors="replace")
        try:
            return msgspec.json.decode(answer)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            excerpt = self._excerpt(answer, secrets)
            raise RequestFailed(method, PREFIX + resource, status, excerpt, f" but what is no JSON ({error})") from None

    def _excerpt(self, answer: bytes, secrets: Collection[str]) -> str:
        text = answer[: 64 * 1024].decode(errors="replace")
        for secret in filter(None, (self._password, *secrets)):
            # As it is, and as XML and JSON repeat it.
            quoted = escape(secret, {'"': "&quot;"})
            for form in (secret, escape(secret), quoted, msgspec.json.encode(secret).decode()[1:-1]):
                text = text.replace(form, REDACTED)
        return text[:EXCERPT].strip()


def _address(url: str) -> str:
    """Scheme, host and port of Vidispine, without what is not to be logged."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parts = httpx.URL()
    if parts.userinfo:
        raise ValueError(
            f"Vidispine's address for the host {parts.host} holds credentials. Give them as username= and password=, "
            "where they are not logged."
        )
    reachable = parts.scheme in ("http", "https") and parts.host and (parts.port or 0) < 2**16
    if not reachable or parts.query or parts.fragment:
        # What cannot be parsed may hold credentials too.
        given = "What was given" if "@" in str(url) else repr(url)
        raise ValueError(f"{given} is no address of Vidispine; expected one such as http://localhost:8080.")
    return str(parts).rstrip("/").removesuffix(PREFIX)


def configure(url: str, username: str, password: str, *, timeout: float = 30.0) -> Client:
    """Name the Vidispine that helpers use from now on which are made without a client.

    Returns:
        The client; a client named earlier is left open for those who still use it.

    Raises:
        ValueError: if the address is no http(s) address.
    """
    global _configured
    _configured = Client(url, username, password, timeout=timeout)
    return _configured


def configured() -> Client:
    """The client that `configure` or the environment names.

    Raises:
        NotConfigured: if neither does.
    """
    client = _configured
    if client is not None:
        return client
    names = ("VIDISPINE_URL", "VIDISPINE_USERNAME", "VIDISPINE_PASSWORD")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise NotConfigured(
            "Nobody has said where Vidispine is. Call rxhub.vidispine.configure(url, username, password), give the "
            f"helper a client=, or set {', '.join(names)} in the environment (missing: {', '.join(missing)})."
        )
    return configure(*(os.environ[name] for name in names))
