"""Where plugins come from: the entry points of installed distributions, or a list from the program."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from rxhub.rx.scope import Scope

__all__ = ["GROUP", "Candidate", "given", "installed"]

GROUP = "rxhub.plugins"
"""The entry-point group of plugins."""


@dataclass(frozen=True)
class Candidate:
    """A plugin that may be started, not imported yet.

    Attributes:
        name: by which others require it.
        load: imports and returns the plugin.
        key: equal for the same plugin.
        source: as `package.module:Name`.
        distribution: the name of the distribution that installed it, or empty.
        version: of the distribution.
    """

    name: str
    load: Callable[[], object]
    key: object
    source: str
    distribution: str = ""
    version: str = ""


def installed() -> list[Candidate]:
    """The plugins of all installed distributions, by name. Imports none of them."""
    return sorted(map(_of_entry_point, entry_points(group=GROUP)), key=lambda found: (found.name, found.distribution))


def given(plugins: Iterable[object]) -> list[Candidate]:
    """The plugins of a list, named by their attribute `name`, or else by their module, class or function."""
    if isinstance(plugins, (str, bytes)) or not isinstance(plugins, Iterable):
        raise TypeError(
            f"Plugins are passed in a list, but {type(plugins).__name__} was given: hub.bootstrap([plugin, …])."
        )
    # `load` keeps the plugin, so its id is not used again.
    return [Candidate(_name(plugin), lambda plugin=plugin: plugin, id(plugin), _source(plugin)) for plugin in plugins]


def _of_entry_point(entry_point: EntryPoint) -> Candidate:
    name, distribution = entry_point.name, entry_point.dist

    def load() -> object:
        # What a module connects on import stays, since no second import would connect it again. It has a scope, whose
        # name is shown, but which is not closed with the hub.
        importer = Scope(name)
        try:
            with importer.registering():
                return entry_point.load()
        except BaseException:
            importer.close()
            raise

    source, origin = entry_point.value, ("", "") if distribution is None else (distribution.name, distribution.version)
    return Candidate(name, load, (name, source, origin[0]), source, *origin)


def _name(plugin: Any) -> str:
    for attribute in ("name", "__name__"):
        name: object = getattr(plugin, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(plugin).__name__


def _source(plugin: Any) -> str:
    named = plugin if hasattr(plugin, "__name__") else cast("Any", type(plugin))
    module: object = getattr(named, "__module__", None)
    name: str = getattr(named, "__qualname__", None) or named.__name__
    return f"{module}:{name}" if isinstance(module, str) else name
