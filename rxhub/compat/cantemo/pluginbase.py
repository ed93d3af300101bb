"""Portal's plugins: `portal.pluginbase.core` and `portal.generic.plugin_interfaces`.

A plugin is an instance, made at module level: `class X(Plugin): implements(IPluginBootstrap)`, then `X()`. Nobody
holds it, so that whoever keeps plugins must: Portal does in an environment of its own, here `made` does. It is noted
once its `__init__` is over, since a plugin's own seldom calls that of `Plugin`.

Only `IPluginBootstrap` has a meaning outside of Portal. The other interfaces are for Portal's pages, archives and
dashboards: plugins that implement them can be imported and are kept, and nobody asks them anything.
"""

from __future__ import annotations

import sys
from inspect import CO_OPTIMIZED
from typing import Any, ClassVar

__all__ = [
    "INTERFACES",
    "IPluginBootstrap",
    "Interface",
    "Plugin",
    "PluginError",
    "implemented",
    "implements",
    "made",
]

made: list[Plugin] = []
"""The plugins that were made and not taken yet, in order."""


class Interface:
    """Base of what plugins implement."""


class IPluginBootstrap(Interface):
    """Its plugins have a `bootstrap()`, which runs once when everything is loaded."""


INTERFACES: dict[str, type[Interface]] = {
    "IPluginBootstrap": IPluginBootstrap,
    **{
        name: type(name, (Interface,), {"__doc__": "Of no meaning outside of Portal."})
        for name in (
            "IAppRegister",
            "IArchivePlugin",
            "IContextProcessor",
            "IDashboardWidget",
            "IGetMetadataFieldGroups",
            "IPluginBlock",
            "IPluginURL",
        )
    },
}
"""By name: those that public plugins import."""


class PluginError(Exception):
    """What Portal's own plugin framework raises; plugins catch it."""


class _Kept(type):
    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        plugin = super().__call__(*arguments, **named)
        made.append(plugin)
        return plugin


class Plugin(metaclass=_Kept):
    """Base of Portal's plugins. Making an instance is what registers it."""

    _implements: ClassVar[tuple[type, ...]] = ()


def implements(*interfaces: type) -> None:
    """Tell which interfaces a plugin has; called in the body of its class.

    Raises:
        TypeError: if it is called elsewhere.
    """
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # Portal does it this way, after Trac
    body = frame.f_locals
    # Of a class body, this is the namespace itself, which may be written to. PEP 667 made a proxy of functions' only.
    if frame.f_code.co_flags & CO_OPTIMIZED or "__module__" not in body or "__qualname__" not in body:
        raise TypeError("implements(…) belongs into the body of a plugin's class, above its methods.")
    body["_implements"] = (*body.get("_implements", ()), *interfaces)


def implemented(plugin: Plugin, interface: type) -> bool:
    """Whether a plugin's class, or one that it inherits from, implements `interface` or one derived from it."""
    return any(
        issubclass(each, interface)
        for kind in type(plugin).__mro__
        for each in vars(kind).get("_implements", ())
        if isinstance(each, type)
    )
