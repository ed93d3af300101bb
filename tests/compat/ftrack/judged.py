"""ftrack's own classes and ours, under the same names, to be asked the same questions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import ftrack_api.event.base
import ftrack_api.event.expression
import ftrack_api.event.hub
import ftrack_api.event.subscriber
import ftrack_api.event.subscription
import ftrack_api.exception

import rxhub.compat.ftrack.base
import rxhub.compat.ftrack.exception
import rxhub.compat.ftrack.expression
import rxhub.compat.ftrack.hub
import rxhub.compat.ftrack.subscriber
import rxhub.compat.ftrack.subscription

__all__ = ["BOTH", "OURS", "THEIRS", "outcome"]

_PARTS = ("base", "expression", "hub", "subscriber", "subscription")


def _side(package: Any, exception: Any) -> SimpleNamespace:
    """The current classes; `install()` changes the modules, but not this."""
    # What a module has made itself: it imports names, such as typing.Any, too.
    names = {
        name: value
        for part in _PARTS
        for name, value in vars(getattr(package, part)).items()
        if getattr(value, "__module__", "") == getattr(package, part).__name__
    }
    return SimpleNamespace(**names, exception=exception)


THEIRS = _side(ftrack_api.event, ftrack_api.exception)
OURS = _side(rxhub.compat.ftrack, rxhub.compat.ftrack.exception)
BOTH = (THEIRS, OURS)


def outcome(call: Any, *arguments: Any, **named: Any) -> Any:
    """The result of a call, or the name and message of its exception."""
    try:
        return call(*arguments, **named)
    except Exception as error:
        return type(error).__name__, str(error)
