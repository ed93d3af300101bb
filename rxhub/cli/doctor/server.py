"""Check an event server: reachability, key and clock, with one Socket.IO handshake.

ftrack's event server and rxhub's answer `GET /socket.io/1/` with `session:heartbeat:close:transports`. No client joins
the session, and the server drops it after its timeout.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Event, Timer
from time import time
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from rxhub.cli.doctor.diagnosis import Finding, Verdict, compare_clocks
from rxhub.text.safe_repr import one_line, safe_repr

__all__ = ["check_server"]

_TIMEOUT_S = 10.0
"""Limit of one request."""
_DATE_RESOLUTION_S = 1.0
_HANDSHAKE = re.compile(r"[^:\s]+:\d*:\d*:[\w,-]+")
_MAX_BODY_BYTES = 1000


class _Answer(NamedTuple):
    status: int
    body: str
    date: str | None
    location: str | None
    asked: float
    answered: float


def check_server(url: str, user: str | None, key: str | None, timeout: float = _TIMEOUT_S) -> Iterator[Finding]:
    """Check a server with one handshake.

    Args:
        url: `http://` or `https://`.
        user: the user name.
        key: the key; sent to the server, never printed.
        timeout: limit of one request, in seconds.
    """
    parts = _parts(url)
    if isinstance(parts, Finding):
        yield parts
        return
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    headers = {name: value for name, value in (("ftrack-user", user), ("ftrack-api-key", key)) if value}
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            found = f"a header cannot contain the value of {name}: it has characters that are not printable ASCII"
            yield Finding(Verdict.PROBLEM, found, "Copy it again, without line breaks and quotes.")
            return
    try:
        answer = _ask(parts, headers, timeout)
    except (OSError, HTTPException, UnicodeError) as error:
        yield _unreached(place, error, timeout)
        return
    yield from _check_answer(place, answer, user, key)
    yield from _health(parts, timeout)
    yield compare_clocks(_time(answer), _DATE_RESOLUTION_S, answer.asked, answer.answered)


def _parts(url: str) -> SplitResult | Finding:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return Finding(
            Verdict.PROBLEM, f"{safe_repr(url, 80)} is not a URL: {error}", "Example: https://studio.example."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        remedy = "Use http://host:port, https://host, or nats://host:port for NATS."
        return Finding(Verdict.PROBLEM, f"{safe_repr(url, 80)} is not a URL of a server", remedy)
    return parts


def _health(parts: SplitResult, timeout: float) -> Iterator[Finding]:
    """Check the store of a server of rxhub. Other servers do not have this page."""
    try:
        answer = _ask(parts, {}, timeout, "/health")
        status = json.loads(answer.body)["status"]
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return
    if status == "not storing":
        remedy = "The disk is probably full. The log of the server names the directory and the reason."
        yield Finding(Verdict.PROBLEM, "the server cannot store events; publishers get errors", remedy)
    elif status == "disconnected":
        remedy = "Start NATS, or repair the network. The log of the server names the reason."
        yield Finding(Verdict.PROBLEM, "the server is not connected to the NATS server that stores its events", remedy)


def _ask(parts: SplitResult, headers: dict[str, str], timeout: float, path: str = "/socket.io/1/") -> _Answer:
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    assert parts.hostname is not None, "checked by the caller"
    connection = kind(parts.hostname, parts.port, timeout=timeout)
    # A timeout of the socket does not limit a server that sends single bytes.
    cut = Event()
    end = Timer(timeout, _hang_up, [connection, cut])
    end.daemon = True
    end.start()
    try:
        asked = time()
        connection.request("GET", f"{parts.path.rstrip('/')}{path}", headers=headers)
        response: HTTPResponse = connection.getresponse()
        answered = time()
        body = response.read(_MAX_BODY_BYTES).decode("utf-8", "replace")
        if cut.is_set():
            raise TimeoutError  # http.client takes the closed connection for the end of the body
        return _Answer(
            response.status, body, response.getheader("Date"), response.getheader("Location"), asked, answered
        )
    except (OSError, HTTPException) as error:
        if cut.is_set():
            raise TimeoutError from error  # http.client sees only the closed connection
        raise
    finally:
        end.cancel()
        connection.close()


def _hang_up(connection: HTTPConnection, cut: Event) -> None:
    cut.set()  # before closing the socket: the reader checks it
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _unreached(place: str, error: Exception, timeout: float) -> Finding:
    """Return the reason of a failed request, and its remedy."""
    match error:
        case ssl.SSLCertVerificationError():
            found = f"its certificate is not trusted: {error.verify_message}"
            remedy = "Set SSL_CERT_FILE to the certificate authority of your studio, or renew the certificate."
        case ssl.SSLError():
            found = f"TLS failed: {error.reason or error}"
            remedy = (
                "If the server has no TLS, use http://. Otherwise check the TLS settings of the server or its proxy."
            )
        case socket.gaierror() | UnicodeError():
            found = "the host name is unknown"
            remedy = "Check the spelling. Internal names may require the VPN or DNS of your studio."
        case ConnectionRefusedError():
            found = "no server listens there"
            remedy = "Check that the server runs, and the port. A firewall may also reject connections."
        case TimeoutError():
            found = f"no answer within {timeout:g} s"
            remedy = "A firewall may drop packets, or the server is down or overloaded."
        case HTTPException():
            found = f"the answer is not HTTP ({type(error).__name__})"
            remedy = "Check the port. With TLS, the URL starts with https://."
        case _:
            found = str(error) or type(error).__name__
            remedy = "Check the URL, and the log of the server."
    return Finding(Verdict.PROBLEM, f"{place} cannot be reached: {one_line(found, 200)}", remedy)


def _check_answer(place: str, answer: _Answer, user: str | None, key: str | None) -> Iterator[Finding]:
    """Check the answer to the handshake."""
    status = answer.status
    if status in (401, 403):
        yield Finding(Verdict.OK, f"{place} answers")
        if user and key:
            found = f"the key of {user} is rejected ({status})"
            remedy = (
                "Check that the key belongs to this server and this user, and has not been revoked. Create a new one."
            )
        else:
            found = f"the server requires {'a key' if user else 'a user' if key else 'a user and a key'} ({status})"
            remedy = "Use --user and --key, or set FTRACK_API_USER and FTRACK_API_KEY."
        yield Finding(Verdict.PROBLEM, found, remedy)
    elif 300 <= status < 400:
        target = one_line(answer.location or "nowhere", 100)
        yield Finding(Verdict.PROBLEM, f"{place} redirects to {target}", "Use the URL of the server itself.")
    elif status == 404:
        remedy = "Use the URL of the server without a path, and check that its event server is enabled."
        yield Finding(Verdict.PROBLEM, f"{place} answers, but is not an event server (404)", remedy)
    elif status != 200:
        yield Finding(Verdict.PROBLEM, f"{place} answers with {status}", "Check the log of the server.")
    elif _HANDSHAKE.fullmatch(answer.body.strip()) is None:
        found = f"{place} answers, but without a handshake: '{one_line(answer.body.strip(), 60)}'"
        yield Finding(Verdict.PROBLEM, found, "The URL belongs to something else, such as a login page or a proxy.")
    else:
        _, heartbeat, close, transports = answer.body.strip().split(":")
        yield Finding(
            Verdict.OK, f"{place} answers: heartbeat {heartbeat or '-'} s, close {close or '-'} s, {transports}"
        )
        if "websocket" not in transports.split(","):
            remedy = "Enable WebSockets on the server and its proxy. rxhub requires them."
            yield Finding(Verdict.PROBLEM, f"{place} does not offer WebSockets", remedy)
        if user and key:
            yield Finding(Verdict.OK, f"the key of {user} is accepted")
        else:
            yield Finding(Verdict.NOTE, "no user and key were given, and the server requires none")


def _time(answer: _Answer) -> float | None:
    try:
        return parsedate_to_datetime(answer.date or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
