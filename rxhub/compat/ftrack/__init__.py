"""A drop-in replacement for ftrack's event hub.

`install()` replaces the classes of `ftrack_api.event`, so that existing programs and `ftrack_api.Session` use rxhub
unchanged. The modules have the names of ftrack's and can also be imported directly, without `ftrack_api`.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, cast

__all__ = ["install", "uninstall"]

_MODULES = ("base", "expression", "subscription", "subscriber", "hub")
_ABSENT = object()

_replaced: list[tuple[ModuleType, str, Any]] = []


def install() -> None:
    """Replace the classes in the modules of `ftrack_api.event`; calling it again changes nothing.

    Classes that other modules imported by name are replaced there too. Existing subclasses and objects remain ftrack's,
    so call it before you define subclasses and create hubs or sessions.
    """
    if _replaced:
        return
    theirs_exception = importlib.import_module("ftrack_api.exception")
    from rxhub.compat.ftrack import exception

    swaps: dict[int, tuple[Any, Any]] = {}
    for name in _MODULES:
        theirs = importlib.import_module(f"ftrack_api.event.{name}")
        ours = importlib.import_module(f"rxhub.compat.ftrack.{name}")
        for public in ours.__all__:
            old, new = getattr(theirs, public, _ABSENT), getattr(ours, public)
            _put(theirs, public, new)
            if old is not _ABSENT:
                swaps[id(old)] = (old, new)
    # `from ftrack_api.event.hub import EventHub` has copied the class into other modules.
    for module in list(sys.modules.values()):
        names: Any = getattr(module, "__dict__", None)
        if not isinstance(names, dict) or getattr(module, "__name__", "").startswith("rxhub."):
            continue
        for name, value in list(cast("dict[str, Any]", names).items()):
            found = swaps.get(id(value))
            if found is not None and found[0] is value:
                _put(module, name, found[1])
    exception.inherit_from(theirs_exception)


def uninstall() -> None:
    """Restore ftrack's classes; existing hubs remain rxhub's."""
    from rxhub.compat.ftrack import exception

    for module, name, old in reversed(_replaced):
        if old is _ABSENT:
            delattr(module, name)
        else:
            setattr(module, name, old)
    _replaced.clear()
    exception.inherit_from(None)


def _put(module: ModuleType, name: str, new: Any) -> None:
    _replaced.append((module, name, getattr(module, name, _ABSENT)))
    setattr(module, name, new)
