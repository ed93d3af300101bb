"""A plugin: a module, a class, an instance or a function."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutine
from typing import Any, Protocol, cast

from rxhub.errors import PluginError
from rxhub.text.safe_repr import safe_repr

__all__ = ["Plugin", "Resolved"]


class Plugin(Protocol):
    """Connects itself to a hub.

    Only `bootstrap` is required; a function that takes the hub is a plugin too. Optional:

    - `teardown(hub)`: called before the connections of the plugin are removed. Not called if `bootstrap` raised.
    - `requires`: the names of plugins that must be running before this one is started.
    - `enabled`: False, or a function that takes the hub and returns False, disables it.

    A class is instantiated without arguments, once for each hub.
    """

    def bootstrap(self, hub: Any, /) -> object:
        """Subscribe and connect. What is connected here is disconnected with the plugin. The result is ignored."""
        ...


class Resolved:
    """A plugin (module, class, instance or function) whose attributes have been read; `name` is for messages.

    Raises:
        PluginError: if it is not a plugin, or `requires` is not a list of names.
    """

    def __init__(self, name: str, plugin: Any) -> None:
        if isinstance(plugin, type) and hasattr(plugin, "bootstrap"):
            plugin = plugin()
        self._name = name
        self._plugin: Any = plugin
        bootstrap: Any = getattr(plugin, "bootstrap", None)
        if bootstrap is None and not isinstance(plugin, type):
            bootstrap = plugin
        if not callable(bootstrap):
            raise PluginError(
                f"{safe_repr(plugin)} is not a plugin: it has no bootstrap(hub). "
                "A plugin is a module, a class or an instance with a function of that name, or a function itself."
            )
        self._bootstrap: Callable[[Any], object] = bootstrap
        requires: Any = getattr(plugin, "requires", ())
        names = [None] if isinstance(requires, str) or not hasattr(requires, "__iter__") else [*requires]
        if not all(isinstance(required, str) for required in names):
            raise PluginError(f"`requires` of {name} is a list of plugins' names, but {safe_repr(requires)} was found.")
        self.requires = tuple(dict.fromkeys(cast("list[str]", names)))

    def enabled(self, hub: Any) -> bool:
        """Whether the plugin may be started."""
        enabled: Any = getattr(self._plugin, "enabled", True)
        return bool(enabled(hub) if callable(enabled) else enabled)

    def bootstrap(self, hub: Any) -> None:
        """Start it; raises PluginError if `bootstrap` is a coroutine function."""
        _check_done(f"bootstrap of {self._name}", self._bootstrap(hub))

    def teardown(self, hub: Any) -> None:
        """End it."""
        teardown: Callable[[Any], object] | None = getattr(self._plugin, "teardown", None)
        if teardown is not None:
            _check_done(f"teardown of {self._name}", teardown(hub))


def _check_done(what: str, result: object) -> None:
    if iscoroutine(result):
        result.close()
        raise PluginError(
            f"The {what} is a coroutine function, which is never awaited. Make it a plain function; "
            "the callbacks that it subscribes may be coroutine functions."
        )
