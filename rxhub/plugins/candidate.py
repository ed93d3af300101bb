"""Where plugins come from: the entry points of what is installed, or a list that a program gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from rxhub.rx.scope import Scope

__all__ = ["GROUP", "Candidate", "given", "installed"]

GROUP = "rxhub.plugins"
"""The group of entry points that name plugins."""


@dataclass(frozen=True)
class Candidate:
    """A plugin that may be started, not imported yet.

    Attributes:
        name: what others require it by.
        load: imports and gives back the plugin.
        key: equal for what is the same plugin.
        source: where it comes from, as `package.module:Name`.
        distribution: the name of what installed it; empty if none did.
        version: of the distribution.
    """

    name: str
    load: Callable[[], object]
    key: object
    source: str
    distribution: str = ""
    version: str = ""


def installed() -> list[Candidate]:
    """The plugins of all installed distributions, by name; nothing is imported."""
    return sorted(map(_of_entry_point, entry_points(group=GROUP)), key=lambda found: (found.name, found.distribution))


def given(plugins: Iterable[object]) -> list[Candidate]:
    """The plugins that a program gives.

    Each is known by its attribute `name`, or else by the name of its module, class or function.

    Raises:
        TypeError: if they are not in a list.
    """
    if isinstance(plugins, (str, bytes)) or not isinstance(plugins, Iterable):
        raise TypeError(
            f"Plugins are given in a list, but {type(plugins).__name__} was given: hub.bootstrap([plugin, …])."
        )
    return [
        Candidate(_name(plugin), lambda plugin=plugin: plugin, _Same(plugin), _source(plugin)) for plugin in plugins
    ]


def _of_entry_point(entry_point: EntryPoint) -> Candidate:
    name, distribution = entry_point.name, entry_point.dist

    def load() -> object:
        # What a module connects on its import stays, since no second import would connect it again: it has an owner
        # by which it is shown, but who does not leave when a hub is closed.
        importer = Scope(name)
        try:
            with importer.registering():
                return entry_point.load()
        except BaseException:
            importer.close()
            raise

    return Candidate(
        name,
        load,
        (name, entry_point.value, "" if distribution is None else distribution.name),
        entry_point.value,
        "" if distribution is None else distribution.name,
        "" if distribution is None else distribution.version,
    )


class _Same:
    """Equal for the same object alone, and keeps it, so that no other takes its place in memory."""

    def __init__(self, plugin: object) -> None:
        self._plugin = plugin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._plugin is other._plugin

    def __hash__(self) -> int:
        return id(self._plugin)


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
