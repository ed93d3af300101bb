"""PyDispatcher's exceptions."""

from __future__ import annotations

from rxhub.errors import RxHubError

__all__ = ["DispatcherError", "DispatcherKeyError", "DispatcherTypeError"]


class DispatcherError(RxHubError):
    """Base of the errors."""


class DispatcherKeyError(KeyError, DispatcherError):
    """The signal and the sender have no connections."""

    # A KeyError prints the repr of its message.
    __str__ = Exception.__str__


class DispatcherTypeError(TypeError, DispatcherError):
    """The signal is None, or the receiver is unsuitable."""
