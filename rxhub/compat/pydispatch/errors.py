"""PyDispatcher's exceptions, so that `except DispatcherKeyError` means here what it means there."""

from __future__ import annotations

from rxhub.errors import RxHubError

__all__ = ["DispatcherError", "DispatcherKeyError", "DispatcherTypeError"]


class DispatcherError(RxHubError):
    """The common base."""


class DispatcherKeyError(KeyError, DispatcherError):
    """Nobody is connected to this signal from this sender."""

    # A KeyError prints the repr of its message.
    __str__ = Exception.__str__


class DispatcherTypeError(TypeError, DispatcherError):
    """The signal is None, or the receiver cannot be one."""
