"""ftrack's event hub, as ftrack's programs know it, on rxhub.

`install()` puts it in place of `ftrack_api.event`, so that a program that was written for that, `ftrack_api.Session`
included, runs on rxhub without a change. The modules bear the names of ftrack's and can be imported directly, too; then
`ftrack_api` is not needed at all.
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
    """Put rxhub's classes into the modules of `ftrack_api.event`; once more changes nothing.

    The modules stay, for whoever has imported one. A class that was imported by its own name before is found in the
    modules that hold it, and replaced there too; but a subclass or an object of it that exists already remains
    ftrack's. So call it before hubs and sessions are made and subclasses are defined.

    Raises:
        ModuleNotFoundError: if `ftrack_api` is not installed.
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
    # Who has said `from ftrack_api.event.hub import EventHub` holds the class itself.
    for module in list(sys.modules.values()):
        names: Any = getattr(module, "__dict__", None)
        if not isinstance(names, dict) or getattr(module, "__name__", "").startswith("rxhub."):
            continue
        for name, value in list(cast("dict[str, Any]", names).items()):
            found = swaps.get(id(value))
            if found is not None and found[0] is value:
                _put(module, name, found[1])
    exception.recognise(theirs_exception)


def uninstall() -> None:
    """Put everything back as it was; hubs that were made meanwhile remain rxhub's."""
    from rxhub.compat.ftrack import exception

    for module, name, old in reversed(_replaced):
        if old is _ABSENT:
            delattr(module, name)
        else:
            setattr(module, name, old)
    _replaced.clear()
    exception.recognise(None)


def _put(module: ModuleType, name: str, new: Any) -> None:
    _replaced.append((module, name, getattr(module, name, _ABSENT)))
    setattr(module, name, new)
