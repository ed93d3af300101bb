"""The modules of Portal, with the names that public plugins and the vendor's documentation import."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from rxhub.compat.cantemo import pluginbase
from rxhub.vidispine import errors, helpers, signals

__all__ = ["PLUGINS", "portal"]

logger = logging.getLogger(__name__)

PLUGINS = "portal.plugins"

_MARK = "__rxhub__"


class LoginView:
    """The sender of the signals for authentication and login."""


class LogoutView:
    """The sender of the signals for logout."""


def is_app_enabled(app_id: str) -> bool:  # noqa: ARG001 -- Portal's signature
    """In Portal, administrators can disable apps; here all are enabled."""
    return True


def performVSAPICall(  # noqa: N802 -- likewise
    func: Callable[..., Any],
    args: Mapping[str, Any] | Sequence[Any] = (),
    vsapierror_templateorcode: object = None,  # noqa: ARG001 -- Portal's signature
) -> dict[str, Any]:
    """Call a helper's method with arguments by name or by position, as Portal's views do.

    Returns:
        `{"success": True, "response": …}`, or `{"success": False, "exception": {"error": …, "status": …}}` if the
        request to Vidispine failed. Exceptions of signal receivers are raised.
    """
    try:
        response = func(**args) if isinstance(args, Mapping) else func(*args)
    except errors.VidispineError as error:
        logger.warning("%s failed: %s", getattr(func, "__qualname__", func), error)
        status = error.status if isinstance(error, errors.RequestFailed) else None
        return {"success": False, "exception": {"error": str(error), "status": status}}
    return {"success": True, "response": response}


def portal(directories: list[str]) -> dict[str, ModuleType]:
    """Portal's modules by name, parents first; `directories` is the search path of `portal.plugins`."""
    contents: dict[str, dict[str, Any]] = {
        "portal": {},
        "portal.authentication": {},
        "portal.authentication.signals": _named(signals, "portal_"),
        "portal.authentication.views": {"LoginView": LoginView, "LogoutView": LogoutView},
        "portal.generic": {},
        "portal.generic.dashboard_interfaces": {"IDashboardWidget": pluginbase.INTERFACES["IDashboardWidget"]},
        "portal.generic.plugin_interfaces": pluginbase.INTERFACES,
        "portal.pluginbase": {},
        "portal.pluginbase.core": {
            name: getattr(pluginbase, name) for name in ("Interface", "Plugin", "PluginError", "implements")
        },
        PLUGINS: {},
        "portal.utils": {},
        "portal.utils.apps": {"is_app_enabled": is_app_enabled},
        "portal.vidispine": {},
        "portal.vidispine.icollection": {"CollectionHelper": helpers.CollectionHelper},
        "portal.vidispine.iexception": {"NotFoundError": errors.NotFound, "VSAPIError": errors.VidispineError},
        "portal.vidispine.igeneral": {"performVSAPICall": performVSAPICall},
        "portal.vidispine.igroup": {"GroupHelper": helpers.GroupHelper},
        # Portal's documentation and public plugins import both from here.
        "portal.vidispine.iitem": {"IngestHelper": helpers.IngestHelper, "ItemHelper": helpers.ItemHelper},
        "portal.vidispine.iuser": {"UserHelper": helpers.UserHelper},
        "portal.vidispine.signals": _named(signals, "vidispine_"),
    }
    modules: dict[str, ModuleType] = {}
    for name, things in contents.items():
        module = modules[name] = ModuleType(name, "Cantemo Portal's module of this name, by rxhub.compat.cantemo.")
        package = any(other.startswith(f"{name}.") for other in contents) or name == PLUGINS
        module.__spec__ = ModuleSpec(name, None, is_package=package)
        module.__package__ = name if package else name.rpartition(".")[0]
        if package:
            module.__path__ = directories if name == PLUGINS else []
        vars(module).update(things)
        setattr(module, _MARK, True)
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(modules[parent], last, module)
    return modules


def ours(module: ModuleType | None) -> bool:
    """Whether a module was created by `portal`."""
    return hasattr(module, _MARK)


def _named(module: ModuleType, prefix: str) -> dict[str, Any]:
    return {name: thing for name, thing in vars(module).items() if name.startswith(prefix)}
