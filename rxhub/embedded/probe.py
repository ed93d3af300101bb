"""Checks whether a NATS server on loopback accepts streams and stores messages.

Private servers do not need nats-py, so these two requests are sent without it.
"""

from __future__ import annotations

import json
import socket
from typing import Final, NamedTuple

__all__ = ["Account", "ask_for_streams", "storage_error"]

_ANSWER_S: Final = 5.0
_INBOX: Final = "_INBOX.rxhub"
_STORAGE_FAULTS: Final = ("write error", "JetStream not enabled")


class Account(NamedTuple):
    """A user of a server on 127.0.0.1."""

    port: int
    user: str
    password: str


def ask_for_streams(account: Account) -> None:
    """Check that JetStream accepts requests. Raises OSError if not, or the server refuses the user."""
    answer = _request(account, "$JS.API.INFO")
    if b'"error"' in answer:
        raise OSError(answer.decode(errors="replace").strip())


def storage_error(account: Account) -> str:
    """Why the server cannot store messages, asked with the system account; empty if it can.

    After a failed write, a stream without replicas accepts no message and answers no publisher until its server is
    restarted. Only the server's health reports that (nats-server: `setWriteErrLocked`, `/healthz`). It also reports
    streams that are being deleted, which does not count. Raises OSError if the server does not answer.
    """
    answer = _request(account, "$SYS.REQ.SERVER.PING.HEALTHZ")
    try:
        health = json.loads(answer)["data"]
        error = "" if health["status"] == "ok" else str(health.get("error"))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise OSError(f"the server's health is invalid: {answer[:200]!r}") from None
    return error if any(fault in error for fault in _STORAGE_FAULTS) else ""


def _request(account: Account, subject: str) -> bytes:
    greeting = {"user": account.user, "pass": account.password, "verbose": False, "pedantic": False, "lang": "python"}
    with socket.create_connection(("127.0.0.1", account.port), _ANSWER_S) as connection:
        with connection.makefile("rb") as lines:
            connection.sendall(
                f"CONNECT {json.dumps(greeting)}\r\nSUB {_INBOX} 1\r\nPUB {subject} {_INBOX} 0\r\n\r\n".encode()
            )
            while line := lines.readline():
                if line.startswith(b"-ERR"):
                    raise OSError(line.decode(errors="replace").strip())
                if line.startswith(b"MSG "):
                    return lines.read(int(line.split()[-1]))
                if line.startswith(b"HMSG "):  # a status: no responders
                    raise OSError(f"the server has no {subject}")
        raise OSError("the server closed the connection")
