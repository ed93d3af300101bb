"""Replace Django's signal class before Django creates signals."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from rxhub.compat.django.signal import Signal, receiver
from rxhub.errors import RxHubError

__all__ = ["install", "uninstall"]

_PLACES = ("django.dispatch", "django.dispatch.dispatcher")
_OURS: dict[str, Any] = {"Signal": Signal, "receiver": receiver}
_theirs: dict[str, Any] = {}


def install() -> None:
    """Make Django and all apps create rxhub's signals from now on.

    Call it in the first line of `manage.py`, `wsgi.py` and `asgi.py`, before anything else of Django is imported; the
    settings are too late. Calling it again changes nothing.

    Raises:
        RxHubError: if a module has imported Django's signal class already.
    """
    dispatcher = import_module(_PLACES[1])
    if dispatcher.Signal is Signal:
        return
    late = sorted(name for name in [*sys.modules] if name not in _PLACES and _has(name, dispatcher.Signal))
    if late:
        raise RxHubError(
            f"rxhub's signal cannot replace Django's: {', '.join(late)} imported it already. Call "
            "rxhub.compat.django.install() before anything else of Django is imported, first thing in manage.py, "
            "wsgi.py and asgi.py."
        )
    for name, ours in _OURS.items():
        _theirs[name] = getattr(dispatcher, name)
        for place in _PLACES:
            setattr(import_module(place), name, ours)


def uninstall() -> None:
    """Make Django and all apps create Django's signals again; existing signals stay rxhub's."""
    for name in [*_theirs]:
        theirs = _theirs.pop(name)
        for place in _PLACES:
            setattr(import_module(place), name, theirs)


def _has(module: str, kind: Any) -> bool:
    return any(value is kind for value in [*getattr(sys.modules.get(module), "__dict__", {}).values()])
