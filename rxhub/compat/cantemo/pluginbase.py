"""Portal's plugins: `portal.pluginbase.core` and `portal.generic.plugin_interfaces`.

A plugin is an instance that its module creates: `class X(Plugin): implements(IPluginBootstrap)`, then `X()`. Plugins
with other interfaces, for Portal's pages, archives and dashboards, can be imported, and are not called.
"""

from __future__ import annotations

import sys
from inspect import CO_OPTIMIZED
from typing import Any, ClassVar

__all__ = ["INTERFACES", "IPluginBootstrap", "Interface", "Plugin", "PluginError", "implemented", "implements", "made"]

made: list[Plugin] = []
"""New plugins, in the order of their creation."""


class Interface:
    """Base of the interfaces of plugins."""


class IPluginBootstrap(Interface):
    """Plugins with a `bootstrap()`, which runs once when everything is loaded."""


INTERFACES: dict[str, type[Interface]] = {
    "IPluginBootstrap": IPluginBootstrap,
    **{
        name: type(name, (Interface,), {"__doc__": "Has no meaning outside Portal."})
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
"""The interfaces that public plugins import, by name."""


class PluginError(Exception):
    """The error of Portal's plugin framework, which plugins catch."""


class _RegisteringMeta(type):
    # Not Plugin.__init__, which plugins seldom call.
    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        plugin = super().__call__(*arguments, **named)
        made.append(plugin)
        return plugin


class Plugin(metaclass=_RegisteringMeta):
    """Base of Portal's plugins. Creating an instance registers it."""

    _implements: ClassVar[tuple[type, ...]] = ()


def implements(*interfaces: type) -> None:
    """Declare the interfaces of a plugin; TypeError if not called in the body of its class."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # as Portal and Trac do
    body = frame.f_locals
    # The f_locals of a class body is the writable namespace; PEP 667 changed only those of functions.
    if frame.f_code.co_flags & CO_OPTIMIZED or "__module__" not in body or "__qualname__" not in body:
        raise TypeError("Call implements(…) in the body of a plugin's class, above its methods.")
    body["_implements"] = (*body.get("_implements", ()), *interfaces)


def implemented(plugin: Plugin, interface: type) -> bool:
    """Whether a plugin's class or a base class implements `interface` or a derived interface."""
    return any(
        issubclass(each, interface)
        for kind in type(plugin).__mro__
        for each in vars(kind).get("_implements", ())
        if isinstance(each, type)
    )
