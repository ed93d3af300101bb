"""What can go wrong between us and Vidispine. No message, `repr` or attribute of these carries a password."""

from __future__ import annotations

from rxhub.errors import RxHubError
from rxhub.text.printable import printable

__all__ = ["NotConfigured", "NotFound", "NotificationError", "RequestFailed", "Unreachable", "VidispineError"]


class VidispineError(RxHubError):
    """Base of what goes wrong with Vidispine."""


class NotConfigured(VidispineError, RuntimeError):
    """A helper was used, but nobody said where Vidispine is."""


class Unreachable(VidispineError, ConnectionError):
    """Vidispine could not be reached, did not answer in time, or broke off."""


class NotificationError(VidispineError, ValueError):
    """The body of a notification cannot be read."""


class RequestFailed(VidispineError):
    """Vidispine answered with an error, or with what cannot be read.

    Attributes:
        method: the HTTP method of the request.
        path: its path from `/API` on, without the query.
        status: the HTTP status of the answer.
        body: the beginning of the answer's body, at most 500 characters.
    """

    def __init__(self, method: str, path: str, status: int, body: str, reason: str = "") -> None:
        super().__init__(method, path, status, body, reason)
        self.method = method
        self.path = path
        self.status = status
        self.body = body
        self.reason = reason

    def __str__(self) -> str:
        said = f", and said: {self.body}" if self.body else ", and said nothing more"
        text = f"Vidispine answered {self.method} {self.path} with status {self.status}{self.reason}{said}"
        return printable(text, lines=True)


class NotFound(RequestFailed, LookupError):
    """Vidispine has nothing of this id or name (status 404)."""
