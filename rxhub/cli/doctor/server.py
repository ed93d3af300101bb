"""Check a server or a worker: an event server with one Socket.IO handshake, and the probes of both.

ftrack's event server and rxhub's answer `GET /socket.io/1/` with `session:heartbeat:close:transports`. No client joins
the session, and the server drops it after its timeout.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Thread
from time import time
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

import msgspec

from rxhub.cli.doctor.diagnosis import Finding, compare_clocks, note, ok, problem, unreachable
from rxhub.telemetry.probes import LIVENESS_PATH, READINESS_PATH
from rxhub.text.safe_repr import one_line, safe_repr

__all__ = ["check_server"]

_TIMEOUT_S = 10.0
"""Limit of one request."""
_DATE_RESOLUTION_S = 2.0
"""HTTP rounds down to a second, and many servers, such as uvicorn, renew the header once per second."""
_HANDSHAKE = re.compile(r"[^:\s]+:(\d*):(\d*):([\w,-]+)")
_MAX_BODY_BYTES = 100_000


_REMEDY = "The log of the process has details."
_REMEDIES = {
    "connected": "Start the server that the reason names, or NATS, or repair the network. The log has details.",
    "store_writable": "The disk of NATS is probably full. The log of the server names the directory and the reason.",
    "disk_space": "Free space on the disk of the store, or limit the stream with `rxhub streams set`.",
    "loop_lag": "The process is overloaded, or a handler blocks it. Start more processes.",
}


class _ProbeCheck(msgspec.Struct):
    ok: bool
    reason: str = ""
    value: float | int | None = None


class _Probe(msgspec.Struct):
    status: Literal["ok", "failed"]
    checks: dict[str, _ProbeCheck] = {}


class _Answer(NamedTuple):
    asked: float
    answered: float
    status: int
    date: str
    location: str
    body: str


def check_server(url: str, user: str | None, key: str | None, timeout: float = _TIMEOUT_S) -> Iterator[Finding]:
    """Check a server with one handshake, in at most `timeout` seconds. The key is sent, but never printed."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        yield problem(f"{safe_repr(url, 80)} is not a URL: {error}", "Example: https://studio.example.")
        return
    if parts.scheme not in ("http", "https") or not parts.hostname:
        remedy = "Use http://host:port, https://host, or nats://host:port for NATS."
        yield problem(f"{safe_repr(url, 80)} is not a URL of a server", remedy)
        return
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    headers = {name: value for name, value in (("ftrack-user", user), ("ftrack-api-key", key)) if value}
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            found = f"a header cannot contain the value of {name}: it has characters that are not printable ASCII"
            yield problem(found, "Copy it again, without line breaks and quotes.")
            return
    try:
        answer = _ask(parts, "/socket.io/1/", headers, timeout)
    except (OSError, HTTPException, UnicodeError) as error:
        yield _unreached(place, error, timeout)
        return
    probes = _probes(parts, timeout)
    if answer.status == 404 and probes:
        yield ok(f"{place} answers: a worker")
    else:
        yield from _check_answer(place, answer, user, key)
    yield from probes
    yield compare_clocks(_time(answer.date), _DATE_RESOLUTION_S, answer.asked, answer.answered)


def _ask(parts: SplitResult, path: str, headers: dict[str, str], timeout: float) -> _Answer:
    """Send one request. A timeout of the socket does not limit a server that sends single bytes, so a thread waits."""
    answer: Future[_Answer] = Future()

    def ask() -> None:
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        try:
            with closing(kind(parts.hostname or "", parts.port, timeout=timeout)) as connection:
                asked = time()
                connection.request("GET", f"{parts.path.rstrip('/')}{path}", headers=headers)
                response = connection.getresponse()
                date, location = response.getheader("Date", ""), response.getheader("Location", "nowhere")
                answered, body = time(), response.read(_MAX_BODY_BYTES).decode("utf-8", "replace").strip()
                answer.set_result(_Answer(asked, answered, response.status, date, location, body))
        except Exception as error:
            answer.set_exception(error)

    Thread(target=ask, name="rxhub-doctor", daemon=True).start()
    return answer.result(timeout)


def _probes(parts: SplitResult, timeout: float) -> list[Finding]:
    """Check the probes of a server or worker of rxhub. Empty if it has none, such as an event server of ftrack."""
    findings: list[Finding] = []
    for path, remedy in ((LIVENESS_PATH, "Restart the process."), (READINESS_PATH, _REMEDY)):
        try:
            answer = _ask(parts, path, {}, timeout)
        except TimeoutError:
            if findings:
                findings.append(problem(f"{path} does not answer within {timeout:g} s", "Restart the process."))
            continue
        except (OSError, HTTPException, UnicodeError):
            return []
        if (checks := _checks(answer.body)) is None or answer.status not in (200, 503):
            return []
        if path == LIVENESS_PATH and answer.status == 200:
            findings.append(ok(f"{path}: the process works"))
        for name, reason, value in checks:
            shown = f"{path}: {one_line(name, 60)}"
            if reason:
                findings.append(problem(f"{shown}: {one_line(reason, 300)}", _REMEDIES.get(name, remedy)))
            elif path == READINESS_PATH:
                findings.append(ok(shown + (f" ({value:,})" if value is not None else "")))
    return findings


def _checks(body: str) -> list[tuple[str, str, float | None]] | None:
    """Name, reason and value of each check in the answer of a probe; None if it is not one of rxhub's."""
    try:
        found = msgspec.json.decode(body, type=_Probe)
    except msgspec.DecodeError:
        return None
    return [(name, "" if check.ok else check.reason or "failed", check.value) for name, check in found.checks.items()]


def _unreached(place: str, error: Exception, timeout: float) -> Finding:
    found, remedy = str(error) or type(error).__name__, "Check the URL, and the log of the server."
    if isinstance(error, TimeoutError):
        found = f"no answer within {timeout:g} s"
        remedy = "A firewall may drop packets, or the server is down or overloaded."
    elif isinstance(error, HTTPException):
        found = f"the answer is not HTTP ({type(error).__name__})"
        remedy = "Check the port. With TLS, the URL starts with https://."
    return unreachable(place, error, found, remedy)


def _check_answer(place: str, answer: _Answer, user: str | None, key: str | None) -> Iterator[Finding]:
    """Check the answer to the handshake."""
    status = answer.status
    if status in (401, 403):
        yield ok(f"{place} answers")
        if user and key:
            remedy = "Check that the key belongs to this server and user, and has not been revoked. Create a new one."
            yield problem(f"the key of {user} is rejected ({status})", remedy)
        else:
            lacking = "a key" if user else "a user" if key else "a user and a key"
            remedy = "Use --user and --key, or set FTRACK_API_USER and FTRACK_API_KEY."
            yield problem(f"the server requires {lacking} ({status})", remedy)
    elif 300 <= status < 400:
        yield problem(f"{place} redirects to {one_line(answer.location, 100)}", "Use the URL of the server itself.")
    elif status == 404:
        remedy = "Use the URL of the server without a path, and check that its event server is enabled."
        yield problem(f"{place} answers, but is not an event server (404)", remedy)
    elif status != 200:
        yield problem(f"{place} answers with {status}", "Check the log of the server.")
    elif (handshake := _HANDSHAKE.fullmatch(answer.body)) is None:
        found = f"{place} answers, but without a handshake: '{one_line(answer.body, 60)}'"
        yield problem(found, "The URL belongs to something else, such as a login page or a proxy.")
    else:
        heartbeat, close, transports = handshake.groups()
        yield ok(f"{place} answers: heartbeat {heartbeat or '-'} s, close {close or '-'} s, {transports}")
        if "websocket" not in transports.split(","):
            remedy = "Enable WebSockets on the server and its proxy. rxhub requires them."
            yield problem(f"{place} does not offer WebSockets", remedy)
        if user and key:
            yield ok(f"the key of {user} is accepted")
        else:
            yield note("no user and key were given, and the server requires none")


def _time(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
