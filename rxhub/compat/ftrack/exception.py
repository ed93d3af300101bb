"""`ftrack_api.exception`: the errors of events, each also rxhub's error of the same meaning.

The names that have nothing to do with events are looked up in `ftrack_api.exception` itself.

What stands in an `except` is compared by inheritance alone, and a program may have imported ftrack's classes long
before `install()`. So `recognise` lets ours inherit from ftrack's, whoever imported what and when.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from rxhub import errors

__all__ = [
    "Error",
    "EventHubConnectionError",
    "EventHubError",
    "EventHubPacketError",
    "NotFoundError",
    "NotUniqueError",
    "ParseError",
    "recognise",
]


class Error(errors.RxHubError):
    """Base of ftrack's errors.

    Args:
        message: may name keys of `details` in braces; the class's own if it is None.
        details: for the message, and for whoever catches the error.

    Attributes:
        message: as it was given.
        details: a dict, perhaps empty.
        traceback: of the error that was being handled when this one was made, as text.
    """

    default_message = "Unspecified error occurred."

    def __init__(self, message: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        # OSError, which some of these are, leaves it empty.
        self.args = () if message is None else (message,) if details is None else (message, details)
        self.message: str = self.default_message if message is None else message
        self.details: Mapping[str, Any] = {} if details is None else details
        self.traceback = traceback.format_exc()

    def __str__(self) -> str:
        try:
            return self.message.format(**self.details)
        except (LookupError, ValueError, AttributeError):
            # A message that quotes a subscription may hold braces of its own.
            return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.details)


class NotFoundError(Error, errors.NotFoundError):
    """Something that should exist is not found."""

    default_message = "Not found."


class NotUniqueError(Error, errors.NotUniqueError):
    """Something that should be there once is there already."""

    default_message = "Non-unique value detected."


class ParseError(Error, errors.ExpressionError):
    """A text is no subscription."""

    default_message = "Failed to parse."
    text = expected = hint = ""
    position = 0


class EventHubError(Error):
    """Base of the errors of the hub."""

    default_message = "Event hub error occurred."


class EventHubConnectionError(EventHubError, errors.HubConnectionError):
    """The hub is not connected, is connected already, or cannot be connected."""

    default_message = "Event hub is not connected."


class EventHubPacketError(EventHubError):
    """What came from the server is no packet."""

    default_message = "Invalid packet."


class EventSizeError(EventHubPacketError, errors.EventError):
    """An event is too large to be sent. ftrack's client has no such error."""

    default_message = "The event is too large."


_OURS = (Error, NotFoundError, NotUniqueError, ParseError, EventHubError, EventHubConnectionError, EventHubPacketError)


def recognise(theirs: ModuleType | None) -> None:
    """Let our errors be caught as those of the same name in `theirs`; None: no longer."""
    for ours in _OURS:
        bases = [base for base in ours.__bases__ if base.__module__ != "ftrack_api.exception"]
        if theirs is not None:
            bases.append(getattr(theirs, ours.__name__))
        ours.__bases__ = tuple(bases)


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("ftrack_api.exception"), name)
