"""Errors of requests to Vidispine and of its notifications. None contains a password."""

from __future__ import annotations

from rxhub.errors import RxHubError
from rxhub.text.printable import printable

__all__ = ["NotConfigured", "NotFound", "NotificationError", "RequestFailed", "Unreachable", "VidispineError"]


class VidispineError(RxHubError):
    """Base class of the errors of `rxhub.vidispine`."""


class NotConfigured(VidispineError, RuntimeError):
    """A helper was used, but no Vidispine server is configured."""


class Unreachable(VidispineError, ConnectionError):
    """Vidispine cannot be reached, did not respond in time, or closed the connection."""


class NotificationError(VidispineError, ValueError):
    """The body of a notification cannot be read."""


class RequestFailed(VidispineError):
    """Vidispine responded with an error, or the response cannot be read.

    Attributes:
        method: the HTTP method of the request.
        path: its path from `/API` on, without the query.
        status: the HTTP status.
        body: the first 500 characters of the response.
    """

    def __init__(self, method: str, path: str, status: int, body: str, reason: str = "") -> None:
        super().__init__(method, path, status, body, reason)
        self.method, self.path, self.status, self.body, self.reason = method, path, status, body, reason

    def __str__(self) -> str:
        body = f": {self.body}" if self.body else " and an empty body"
        text = f"Vidispine answered {self.method} {self.path} with status {self.status}{self.reason}{body}"
        return printable(text, lines=True)


class NotFound(RequestFailed, LookupError):
    """Vidispine has no resource with this id or name (status 404)."""
