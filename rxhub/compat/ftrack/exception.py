"""`ftrack_api.exception`: the errors of the event hub, which also inherit from rxhub's errors.

Other names are looked up in `ftrack_api.exception` itself.
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
    "inherit_from",
]


class Error(errors.RxHubError):
    """Base of ftrack's errors. The message is a format string for the details; None for the default of the class.

    `traceback` is the traceback of the exception that was being handled, as a string.
    """

    default_message = "Unspecified error occurred."

    def __init__(self, message: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        # The subclasses of OSError would leave it empty.
        self.args = () if message is None else (message,) if details is None else (message, details)
        self.message: str = self.default_message if message is None else message
        self.details: Mapping[str, Any] = {} if details is None else details
        self.traceback = traceback.format_exc()

    def __str__(self) -> str:
        try:
            return self.message.format(**self.details)
        except (LookupError, ValueError, AttributeError):
            # A message that quotes a subscription can contain braces.
            return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.details)


class NotFoundError(Error, errors.NotFoundError):
    """Something does not exist."""

    default_message = "Not found."


class NotUniqueError(Error, errors.NotUniqueError):
    """Something exists already."""

    default_message = "Non-unique value detected."


class ParseError(Error, errors.ExpressionError):
    """A subscription does not parse."""

    default_message = "Failed to parse."
    text = expected = hint = ""
    position = 0


class EventHubError(Error):
    """Base of the errors of the hub."""

    default_message = "Event hub error occurred."


class EventHubConnectionError(EventHubError, errors.HubConnectionError):
    """The hub is not connected, is connected already, or cannot connect."""

    default_message = "Event hub is not connected."


class EventHubPacketError(EventHubError):
    """The server sent an invalid packet."""

    default_message = "Invalid packet."


class EventSizeError(EventHubPacketError, errors.EventError):
    """An event is too large to send. ftrack's client does not have this error."""

    default_message = "The event is too large."


_OURS = (Error, NotFoundError, NotUniqueError, ParseError, EventHubError, EventHubConnectionError, EventHubPacketError)


def inherit_from(theirs: ModuleType | None) -> None:
    """Make the errors inherit from those of the same name in a module; None ends it.

    `except` compares by inheritance, and a program can have imported ftrack's classes before `install()`.
    """
    for ours in _OURS:
        bases = [base for base in ours.__bases__ if base.__module__ != "ftrack_api.exception"]
        if theirs is not None:
            bases.append(getattr(theirs, ours.__name__))
        ours.__bases__ = tuple(bases)


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("ftrack_api.exception"), name)
