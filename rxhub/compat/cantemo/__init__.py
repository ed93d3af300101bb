"""Run plugins of Cantemo Portal outside Portal; needs the extra `vidispine`.

The module of a plugin runs unchanged:

    from rxhub.compat import cantemo

    cantemo.install()
    import my_plugin
    cantemo.bootstrap()
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec

from rxhub.compat.cantemo.modules import ours, portal
from rxhub.compat.cantemo.pluginbase import IPluginBootstrap, Plugin, implemented, made
from rxhub.concurrency.fork import ForkSafeLock
from rxhub.errors import RxHubError, as_exception
from rxhub.rx.scope import Scope

__all__ = ["Bootstrapped", "PortalPresent", "bootstrap", "bootstrapped", "install", "teardown", "uninstall"]

logger = logging.getLogger(__name__)


class PortalPresent(RxHubError, ImportError):
    """The real Portal, or another package of this name, is installed."""


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """The result of bootstrapping one plugin, which is kept alive: the exception of its `bootstrap`, or None."""

    plugin: Plugin
    error: Exception | None = None
    _owner: Scope | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The module and class of the plugin."""
        kind = type(self.plugin)
        return f"{kind.__module__}.{kind.__qualname__}"


_lock = ForkSafeLock()
_bootstrapped: list[Bootstrapped] = []


def install(*directories: str | os.PathLike[str]) -> None:
    """Make `import portal…` import rxhub's signals and helpers under Portal's names; PortalPresent if Portal is there.

    The packages and modules of the directories appear in `portal.plugins`.
    """
    with _lock:
        present = sys.modules.get("portal")
        if present is None:
            spec = find_spec("portal")
            # A directory without a package, as in the source tree of a plugin, does not count.
            if spec is not None and spec.origin is not None:
                raise _present(spec.origin)
            sys.modules.update(portal([os.fspath(each) for each in directories]))
        elif not ours(present):
            raise _present(getattr(present, "__file__", None) or "unknown")
        else:
            found: list[str] = sys.modules["portal.plugins"].__path__  # pyright: ignore[reportAssignmentType]
            found += [place for each in directories if (place := os.fspath(each)) not in found]


def _present(place: str) -> PortalPresent:
    return PortalPresent(
        f"A package named portal is installed already, at {place}. Inside Portal, plugins run without rxhub; "
        "elsewhere remove it from sys.path before you call install()."
    )


def uninstall() -> None:
    """Remove Portal's modules, the plugins and their registrations. Modules of the real Portal stay."""
    with _lock:
        if ours(sys.modules.get("portal")):
            for name in [name for name in sys.modules if name == "portal" or name.startswith("portal.")]:
                del sys.modules[name]
    teardown()


def teardown(hub: object = None, /) -> None:  # noqa: ARG001 -- the signature of a plugin
    """Remove the plugins and their registrations, the latest first; Portal's modules stay. `hub` is ignored."""
    with _lock:
        removed = _bootstrapped[::-1]
        _bootstrapped.clear()
        made.clear()
    for each in removed:
        if each._owner is not None:  # pyright: ignore[reportPrivateUsage]  # of this module
            each._owner.close()  # pyright: ignore[reportPrivateUsage]


def bootstrap(hub: object = None, /) -> list[Bootstrapped]:  # noqa: ARG001 -- the signature of a plugin
    """Run `bootstrap()` of new plugins, each once, in the order of their creation.

    Registrations of a plugin are referenced strongly, listed under its name, and removed by `teardown`. Exceptions are
    logged and returned, and the next plugin runs. Plugins that are created meanwhile run too.

    `hub` is ignored; it makes this module usable as a plugin of a hub.
    """
    results: list[Bootstrapped] = []
    while made:
        with _lock:
            plugin = made.pop(0) if made else None
        if plugin is not None:
            # Without the lock: a plugin can import, start threads and call these functions.
            results.append(_run(plugin))
            with _lock:
                _bootstrapped.append(results[-1])
    return results


def bootstrapped() -> tuple[Bootstrapped, ...]:
    """The results of all plugins, in order."""
    with _lock:
        return tuple(_bootstrapped)


def _run(plugin: Plugin) -> Bootstrapped:
    if not implemented(plugin, IPluginBootstrap):
        return Bootstrapped(plugin)
    owner = Scope(Bootstrapped(plugin).name)
    run: Callable[[], object] | None = getattr(plugin, "bootstrap", None)
    try:
        if run is None:
            raise TypeError(f"{owner.name} implements IPluginBootstrap, but does not define bootstrap().")
        with owner.registering():
            run()
    except KeyboardInterrupt:
        owner.close()
        raise
    except BaseException as raised:  # noqa: BLE001 -- SystemExit of a plugin must not stop the others
        error = as_exception(raised)
        logger.error("Could not bootstrap the plugin %s: %s", owner.name, error, exc_info=error)
        owner.close()
        return Bootstrapped(plugin, error, owner)
    return Bootstrapped(plugin, None, owner)
