"""The socket between a worker and its supervisor.

A worker sends its readiness as lines of JSON. It stops when the supervisor closes the socket, or has ended. A signal
would not do: systemd may send SIGTERM to all processes at once, and a second one ends a worker without grace.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

import msgspec

from rxhub.telemetry.probes import Check, Readiness

__all__ = ["REPORT_INTERVAL_S", "VARIABLE", "connect", "read_report"]

VARIABLE = "RXHUB_WORKER_CONTROL"
"""The environment variable with the number of the worker's file descriptor."""

REPORT_INTERVAL_S = 1.0
_SEND_TIMEOUT_S = 5.0


def connect(stop: Callable[[], object], readiness: Callable[[], Readiness]) -> None:
    """Report to the supervisor, if there is one, in a thread. Calls `stop` when the supervisor closes the socket."""
    number = os.environ.pop(VARIABLE, "")  # programs that handlers start are not workers
    if not number.isdecimal():
        return
    line = socket.socket(fileno=int(number))
    line.set_inheritable(False)
    Thread(target=_report, args=(line, stop, readiness), name="rxhub-control", daemon=True).start()


def read_report(line: bytes) -> Readiness:
    """The readiness in a line of a worker."""
    return Readiness(tuple(msgspec.json.decode(line, type=list[Check])))


def _report(line: socket.socket, stop: Callable[[], object], readiness: Callable[[], Readiness]) -> None:
    while True:
        with suppress(OSError):  # the supervisor has ended
            line.settimeout(_SEND_TIMEOUT_S)
            line.sendall(msgspec.json.encode(readiness().checks) + b"\n")
        line.settimeout(REPORT_INTERVAL_S)
        try:
            is_over = not line.recv(1)
        except TimeoutError:
            continue
        except OSError:
            is_over = True
        if is_over:
            stop()
            return
