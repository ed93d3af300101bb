"""Requests to Vidispine's REST API. `configure` sets the client of helpers that are created without one."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from time import monotonic
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
MAX_BODY_BYTES = 64 * 1024 * 1024
EXCERPT_LENGTH = 500

_configured: Client | None = None


def path(*segments: str) -> str:
    """The path of a resource below `/API`, such as `/item/VX-1/metadata`.

    Segments are quoted, so that an id cannot select another resource; ValueError if one is empty, `.` or `..`.
    """
    for segment in segments:
        if not isinstance(segment, str):
            raise TypeError(f"An id or name must be a string, but {segment!r} was given.")
        if segment in ("", ".", ".."):
            raise ValueError(f"{segment!r} is not a valid id or name in the path /{'/'.join(segments)}.")
    # For a lone surrogate, quote raises UnicodeEncodeError, which is a ValueError.
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)


class Client:
    """One account on one Vidispine server. Thread-safe.

    Args:
        url: scheme, host and port, such as `http://localhost:8080`; the prefix `/API` is added.
        username: the name of the account.
        password: its password. It is never shown.
        timeout: seconds for the connection, for each part of a response, and for its whole body.

    Raises:
        ValueError: if the URL is not an http(s) URL, or has other parts.
    """

    def __init__(self, url: str, username: str, password: str, *, timeout: float = 30.0) -> None:
        self.url = _base_url(url)
        if ":" in username:
            raise ValueError(f"The user name {username!r} contains a colon, which HTTP authentication does not allow.")
        self.username = username
        self._password = password
        self._timeout = timeout
        self._http = httpx.Client(
            auth=httpx.BasicAuth(username, password),
            timeout=timeout,
            # Not compressed, so that MAX_BODY_BYTES limits the memory.
            headers={"Accept": "application/json, text/plain;q=0.5", "Accept-Encoding": "identity"},
        )

    def __repr__(self) -> str:
        return f"Client({self.url!r}, username={self.username!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def get(self, resource: str, *, query: Mapping[str, str] | None = None, runas: str | None = None) -> Any:
        """Send a GET request, see `request`."""
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
        """Send a request; return the decoded JSON of the response, its text in another format, None if it is empty.

        Args:
            method: GET, POST, PUT or DELETE.
            resource: the path below `/API`, see `path`.
            query: appended to the path, quoted.
            body: an XML document.
            runas: the user on whose behalf Vidispine acts. Default: the account.
            secrets: strings to redact in error messages that quote the response.

        Raises:
            NotFound: if the status is 404.
            RequestFailed: if the status is not 2xx, the JSON is invalid, or the response is larger than 64 MiB.
            Unreachable: if there is no response, or not in time.
        """
        headers: dict[str, str] = {}
        if runas is not None:
            if not (runas.isascii() and runas.isprintable()):
                raise ValueError(
                    f"The user name {runas!r} cannot be sent in the header RunAs, which must be printable ASCII."
                )
            headers["RunAs"] = runas
        content: bytes | None = None
        if body is not None:
            headers["Content-Type"] = "application/xml"
            content = body.encode() if isinstance(body, str) else serialize(body)
        place, end = PREFIX + resource, monotonic() + self._timeout
        answer = bytearray()
        try:
            with self._http.stream(
                method, self.url + place, params=query, content=content, headers=headers
            ) as response:
                for chunk in response.iter_raw():
                    answer += chunk
                    if len(answer) > MAX_BODY_BYTES:
                        break
                    # The timeout of httpx limits each read only.
                    if monotonic() > end:
                        raise httpx.ReadTimeout(f"the response was incomplete after {self._timeout:g} s")
        except httpx.HTTPError as error:
            # The text of the error does not include the request, which contains the password.
            raise Unreachable(
                f"{method} {place} got no response from {self.url}: {error or type(error).__name__}"
            ) from error
        if len(answer) > MAX_BODY_BYTES:
            reason = f" and a response larger than {MAX_BODY_BYTES} bytes"
        elif not response.is_success:
            reason = ""
        elif not answer.strip():
            return None
        elif "json" not in response.headers.get("Content-Type", ""):
            return answer.decode(errors="replace")
        else:
            try:
                return msgspec.json.decode(answer)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                reason = f" and invalid JSON ({error})"
        failure = NotFound if response.status_code == 404 else RequestFailed
        raise failure(method, place, response.status_code, self._excerpt(answer, secrets), reason)

    def _excerpt(self, answer: bytearray, secrets: Collection[str]) -> str:
        text = answer[: 64 * 1024].decode(errors="replace")
        for secret in filter(None, (self._password, *secrets)):
            # Plain, and as XML and JSON escape it.
            quoted = escape(secret, {'"': "&quot;"})
            for form in (secret, escape(secret), quoted, msgspec.json.encode(secret).decode()[1:-1]):
                text = text.replace(form, REDACTED)
        return text[:EXCERPT_LENGTH].strip()


def _base_url(url: str) -> str:
    """The URL without `/API`."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parts = httpx.URL()
    if parts.userinfo:
        raise ValueError(
            f"The URL of Vidispine on {parts.host} contains credentials. Pass them as username= and password=, "
            "which are not logged."
        )
    reachable = parts.scheme in ("http", "https") and parts.host and (parts.port or 0) < 2**16
    if not reachable or parts.query or parts.fragment:
        # A URL that cannot be parsed may contain credentials.
        given = "What was given" if "@" in str(url) else repr(url)
        raise ValueError(f"{given} is not a valid URL of Vidispine. Example: http://localhost:8080.")
    return str(parts).rstrip("/").removesuffix(PREFIX)


def configure(url: str, username: str, password: str, *, timeout: float = 30.0) -> Client:
    """Set the Vidispine server of helpers that are created without a client. An earlier client stays open.

    Arguments and errors are those of `Client`.
    """
    global _configured
    _configured = Client(url, username, password, timeout=timeout)
    return _configured


def configured() -> Client:
    """The client of `configure` or of the environment variables; raises NotConfigured if there is neither."""
    if _configured is not None:
        return _configured
    names = ("VIDISPINE_URL", "VIDISPINE_USERNAME", "VIDISPINE_PASSWORD")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise NotConfigured(
            "The Vidispine server is not configured. Call rxhub.vidispine.configure(url, username, password), pass "
            f"client= to the helper, or set {', '.join(names)} in the environment (missing: {', '.join(missing)})."
        )
    return configure(*(os.environ[name] for name in names))
