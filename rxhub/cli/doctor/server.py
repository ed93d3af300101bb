"""Whether a server can be reached, takes the key, and has the same time: by one Socket.IO handshake.

`GET /socket.io/1/` is answered with `session:heartbeat:close:transports` by ftrack's event server, and by ours. It
begins a session that nobody connects to, and which the server drops after its timeout.
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

from rxhub.cli.doctor.clock import clock
from rxhub.cli.doctor.diagnosis import Finding, Verdict
from rxhub.text.safe_repr import one_line, safe_repr

__all__ = ["server"]

_PATIENCE = 10.0
"""Seconds that the whole of it may take."""
_CUT = 1.0
"""Seconds: a header of HTTP tells the time in whole ones."""
_HANDSHAKE = re.compile(r"[^:\s]+:\d*:\d*:[\w,-]+")
_LONGEST = 1000  # bytes of an answer


class _Answer(NamedTuple):
    status: int
    body: str
    date: str | None
    location: str | None
    asked: float
    answered: float


def server(url: str, user: str | None, key: str | None, patience: float = _PATIENCE) -> Iterator[Finding]:
    """Shake hands with a server.

    Args:
        url: its address, `http://` or `https://`.
        user: who asks.
        key: the user's key; it is sent to the server and told to nobody else.
        patience: seconds that it may take.
    """
    parts = _parts(url)
    if isinstance(parts, Finding):
        yield parts
        return
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    headers = {name: value for name, value in (("ftrack-user", user), ("ftrack-api-key", key)) if value}
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            told = f"no request can carry what was given for {name}: it is not all plain letters"
            yield Finding(Verdict.PROBLEM, told, "Copy it anew; often a line break or a quote came along.")
            return
    try:
        answer = _ask(parts, headers, patience)
    except (OSError, HTTPException, UnicodeError) as error:
        yield _unreached(place, error, patience)
        return
    yield from _judged(place, answer, user, key)
    yield from _health(parts, patience)
    yield clock(_time(answer), _CUT, answer.asked, answer.answered)


def _parts(url: str) -> SplitResult | Finding:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return Finding(
            Verdict.PROBLEM, f"{safe_repr(url, 80)} is no address: {error}", "Give one such as https://studio.example."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        remedy = "Give the server as http://host:port or https://host, or a NATS server as nats://host:port."
        return Finding(Verdict.PROBLEM, f"{safe_repr(url, 80)} is no address of a server", remedy)
    return parts


def _health(parts: SplitResult, patience: float) -> Iterator[Finding]:
    """What a server of rxhub says of its store; other servers have no such page."""
    try:
        answer = _ask(parts, {}, patience, "/health")
        status = json.loads(answer.body)["status"]
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return
    if status == "not storing":
        remedy = "Its disk is probably full: free up space. Its log names the directory and the reason."
        yield Finding(Verdict.PROBLEM, "it stores no events: publishers get errors", remedy)
    elif status == "disconnected":
        remedy = "Start NATS again, or repair the network between them. Its log names the reason."
        yield Finding(Verdict.PROBLEM, "it has no connection to the NATS server that stores its events", remedy)


def _ask(parts: SplitResult, headers: dict[str, str], patience: float, path: str = "/socket.io/1/") -> _Answer:
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    assert parts.hostname is not None, "the caller has looked"
    connection = kind(parts.hostname, parts.port, timeout=patience)
    # A server that sends a byte now and then keeps within every timeout of a socket.
    cut = Event()
    end = Timer(patience, _hang_up, [connection, cut])
    end.daemon = True
    end.start()
    try:
        asked = time()
        connection.request("GET", f"{parts.path.rstrip('/')}{path}", headers=headers)
        response: HTTPResponse = connection.getresponse()
        answered = time()
        body = response.read(_LONGEST).decode("utf-8", "replace")
        if cut.is_set():
            raise TimeoutError  # http.client takes what was cut off for the end
        return _Answer(
            response.status, body, response.getheader("Date"), response.getheader("Location"), asked, answered
        )
    except (OSError, HTTPException) as error:
        if cut.is_set():
            raise TimeoutError from error  # it sees only that the line was cut
        raise
    finally:
        end.cancel()
        connection.close()


def _hang_up(connection: HTTPConnection, cut: Event) -> None:
    cut.set()  # before the line is: who reads from it asks why it ended
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _unreached(place: str, error: Exception, patience: float) -> Finding:
    """Why no answer came, and what helps."""
    match error:
        case ssl.SSLCertVerificationError():
            told = f"its certificate is not trusted: {error.verify_message}"
            remedy = "Name the authority of your studio in SSL_CERT_FILE, or have the certificate renewed."
        case ssl.SSLError():
            told = f"TLS failed: {error.reason or error}"
            remedy = "If the server speaks plain HTTP, write http://; behind a proxy, ask its keeper."
        case socket.gaierror() | UnicodeError():
            told = "no such host is known"
            remedy = "Look for a slip in the name; a studio's own names may need its VPN or DNS."
        case ConnectionRefusedError():
            told = "nobody listens there"
            remedy = "Is the server running, and the port right? A firewall may refuse as well."
        case TimeoutError():
            told = f"no answer within {patience:g} s"
            remedy = "A firewall may swallow what is sent; or the server is down, or very busy."
        case HTTPException():
            told = f"what answers does not speak HTTP ({type(error).__name__})"
            remedy = "Is that the right port? With TLS the address begins with https://."
        case _:
            told = str(error) or type(error).__name__
            remedy = "Is that the right address, and the server well?"
    return Finding(Verdict.PROBLEM, f"{place} cannot be reached: {one_line(told, 200)}", remedy)


def _judged(place: str, answer: _Answer, user: str | None, key: str | None) -> Iterator[Finding]:
    """What the server says of itself and of the key."""
    status = answer.status
    if status in (401, 403):
        yield Finding(Verdict.OK, f"{place} answers")
        if user and key:
            told = f"the key of {user} is refused ({status})"
            remedy = "Is it this server's key, of this user, and neither revoked nor expired? Make a new one."
        else:
            told = f"it asks for {'a key' if user else 'a user' if key else 'a user and a key'} ({status})"
            remedy = "Give --user and --key, or FTRACK_API_USER and FTRACK_API_KEY."
        yield Finding(Verdict.PROBLEM, told, remedy)
    elif 300 <= status < 400:
        target = one_line(answer.location or "nowhere", 100)
        yield Finding(Verdict.PROBLEM, f"{place} sends elsewhere: to {target}", "Give that address itself.")
    elif status == 404:
        remedy = "Is that the address of the server itself, without a path? Is its event server switched on?"
        yield Finding(Verdict.PROBLEM, f"{place} answers, but has no events (404)", remedy)
    elif status != 200:
        yield Finding(
            Verdict.PROBLEM, f"{place} answers with {status}", "Look into the server's log, or ask its keeper."
        )
    elif _HANDSHAKE.fullmatch(answer.body.strip()) is None:
        told = f"{place} answers, but with no handshake: '{one_line(answer.body.strip(), 60)}'"
        yield Finding(Verdict.PROBLEM, told, "Something else stands at this address, such as a login page or a proxy.")
    else:
        _, heartbeat, close, transports = answer.body.strip().split(":")
        yield Finding(
            Verdict.OK, f"{place} answers: heartbeat {heartbeat or '-'} s, close {close or '-'} s, {transports}"
        )
        if "websocket" not in transports.split(","):
            remedy = "rxhub needs them: let the server, or the proxy before it, allow them."
            yield Finding(Verdict.PROBLEM, f"{place} offers no web sockets", remedy)
        if user and key:
            yield Finding(Verdict.OK, f"the key of {user} is accepted")
        else:
            yield Finding(Verdict.NOTE, "no user and key were given, and it asks for none")


def _time(answer: _Answer) -> float | None:
    try:
        return parsedate_to_datetime(answer.date or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
