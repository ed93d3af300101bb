"""The findings of `rxhub doctor`, and the findings about networks and clocks, which all servers share."""

from __future__ import annotations

import socket
import ssl
from enum import Enum
from typing import NamedTuple

from rxhub.text.safe_repr import one_line

__all__ = ["Finding", "Verdict", "compare_clocks", "note", "ok", "problem", "unreachable"]

_NOTED_DIFFERENCE_S = 1.0
_MAX_DIFFERENCE_S = 10.0
"""Waiting times, expiry and tokens are noticeably wrong."""


class Verdict(Enum):
    """The result of a check."""

    OK = "ok"
    NOTE = "note"
    """Not a problem, but something is unavailable, was not checked, or is slightly wrong."""
    PROBLEM = "problem"


class Finding(NamedTuple):
    """The result of one check: what was found, and what to do about it (empty if nothing)."""

    verdict: Verdict
    found: str
    remedy: str = ""


def ok(found: str, remedy: str = "") -> Finding:
    """Return that a check succeeded."""
    return Finding(Verdict.OK, found, remedy)


def note(found: str, remedy: str = "") -> Finding:
    """Return that something is unavailable, was not checked, or is slightly wrong."""
    return Finding(Verdict.NOTE, found, remedy)


def problem(found: str, remedy: str) -> Finding:
    """Return that a check failed."""
    return Finding(Verdict.PROBLEM, found, remedy)


def unreachable(place: str, error: BaseException | None, found: str, remedy: str, hint: str = "") -> Finding:
    """Return why a server cannot be reached: `found` and `remedy`, unless all servers share the error.

    `hint` says how to start a server.
    """
    match error:
        case ssl.SSLCertVerificationError():
            found = f"its certificate is not trusted: {error.verify_message}"
            remedy = "Set SSL_CERT_FILE to the certificate authority of your studio, or renew the certificate."
        case ssl.SSLError():
            found = f"TLS failed: {error.reason or error}"
            remedy = (
                "Check the port. If the server has no TLS, use http:// or nats://. Otherwise check its TLS settings."
            )
        case socket.gaierror() | UnicodeError():
            found = "the host name is unknown"
            remedy = "Check the spelling. Internal names may require the VPN or DNS of your studio."
        case ConnectionRefusedError():
            found = "no server listens there"
            remedy = f"Check that the server runs, and the port. A firewall may also reject connections.{hint}"
        case _:
            pass
    return problem(f"{place} cannot be reached: {one_line(found, 200)}", remedy)


def compare_clocks(server_time: float | None, resolution: float, before: float, after: float) -> Finding:
    """Compare the clock of this machine with that of a server, which sent its time between two moments.

    All times are in seconds. The server may send no time (None), or a time rounded down to its resolution.
    """
    if server_time is None:
        return note("the server sends no time, so the clocks cannot be compared")
    least, most = before - (server_time + resolution), after - server_time
    ahead = max(0.0, least) + min(0.0, most)  # what the duration of the request and the resolution cannot explain
    if abs(ahead) <= _NOTED_DIFFERENCE_S:
        middle, uncertainty = (least + most) / 2, (most - least) / 2
        return ok(f"the clock of this machine agrees with the server: {middle:+.3f} s, ± {uncertainty:.3f} s")
    found = f"the clock of this machine is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the server"
    remedy = "Synchronize both with NTP. Otherwise times of events are not comparable, and tokens expire early or late."
    return (problem if abs(ahead) > _MAX_DIFFERENCE_S else note)(found, remedy)
