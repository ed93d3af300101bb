"""Plugins of Cantemo Portal, outside of Portal.

- `install`: `import portal…` gives rxhub's signals and helpers under Portal's names.
- `bootstrap`: runs the plugins that were made since; `bootstrapped` tells of all that ran.
- `teardown`: forgets the plugins and all that they connected; `uninstall` takes Portal's modules away too.

A plugin's module is then imported and runs unchanged:

    from rxhub.compat import cantemo

    cantemo.install()
    import my_plugin
    cantemo.bootstrap()

Needs the extra `vidispine`.
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
    """The real Portal, or another package of its name, is here; it is not to be hidden."""


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """What became of one plugin.

    Attributes:
        plugin: the plugin, which is held here.
        error: what its `bootstrap` raised; None if it ran, or if it has none to run.
    """

    plugin: Plugin
    error: Exception | None = None
    _owner: Scope | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Module and class of the plugin."""
        kind = type(self.plugin)
        return f"{kind.__module__}.{kind.__qualname__}"


_lock = ForkSafeLock()
_bootstrapped: list[Bootstrapped] = []


def install(*directories: str | os.PathLike[str]) -> None:
    """Provide Portal's modules to those that are imported from now on. Installing twice changes nothing.

    Args:
        directories: whose packages and modules `portal.plugins` has, as in Portal's own plugin directory.

    Raises:
        PortalPresent: if `portal` is another package already, or could be imported as one.
    """
    with _lock:
        present = sys.modules.get("portal")
        if present is None:
            spec = find_spec("portal")
            # A mere directory of this name, as the working tree of a plugin may have it, is no Portal.
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
        f"There is a package named portal already, at {place}. Inside of Portal its plugins need no help; elsewhere "
        "take it out of the path before calling install()."
    )


def uninstall() -> None:
    """Take away Portal's modules, those of `portal.plugins`, the plugins, and all that these connected.

    The real Portal's modules stay, if it is that which is there.
    """
    with _lock:
        if ours(sys.modules.get("portal")):
            for name in [name for name in sys.modules if name == "portal" or name.startswith("portal.")]:
                del sys.modules[name]
    teardown()


def teardown(hub: object = None, /) -> None:  # noqa: ARG001 -- a plugin has it
    """Forget the plugins, and disconnect what they connected, the latest first; Portal's modules stay.

    Args:
        hub: not used, see `bootstrap`.
    """
    with _lock:
        gone = _bootstrapped[::-1]
        _bootstrapped.clear()
        made.clear()
    for each in gone:
        if each._owner is not None:  # pyright: ignore[reportPrivateUsage]  # of this module
            each._owner.close()  # pyright: ignore[reportPrivateUsage]


def bootstrap(hub: object = None, /) -> list[Bootstrapped]:  # noqa: ARG001 -- a plugin has it
    """Run `bootstrap()` of the plugins that were made, each once, in the order of their making.

    What a plugin connects meanwhile is held strongly, listed in its name, and leaves with `teardown`. What it raises
    is logged and told in the list; the next one runs. Plugins that a bootstrap makes, by importing more of itself, run
    as well.

    Args:
        hub: not used; taken so that this module is itself what a hub takes for a plugin.

    Returns:
        What became of each plugin of this call.
    """
    results: list[Bootstrapped] = []
    while (plugin := _next()) is not None:
        # The lock is not held here: a plugin may import, start threads and call what it likes.
        result = _run(plugin)
        results.append(result)
        with _lock:
            _bootstrapped.append(result)
    return results


def bootstrapped() -> tuple[Bootstrapped, ...]:
    """What became of every plugin so far, in order."""
    with _lock:
        return tuple(_bootstrapped)


def _next() -> Plugin | None:
    with _lock:
        return made.pop(0) if made else None


def _run(plugin: Plugin) -> Bootstrapped:
    if not implemented(plugin, IPluginBootstrap):
        return Bootstrapped(plugin)
    kind = type(plugin)
    owner = Scope(f"{kind.__module__}.{kind.__qualname__}")
    run: Callable[[], object] | None = getattr(plugin, "bootstrap", None)
    try:
        if run is None:
            raise TypeError(f"{owner.name} implements IPluginBootstrap, but has no bootstrap().")
        with owner.registering():
            run()
    except KeyboardInterrupt:
        owner.close()
        raise
    except BaseException as raised:  # noqa: BLE001 -- a plugin that ends the interpreter must not end the others
        error = as_exception(raised)
        logger.error("The plugin %s could not be bootstrapped: %s", owner.name, error, exc_info=error)
        owner.close()
        return Bootstrapped(plugin, error, owner)
    return Bootstrapped(plugin, None, owner)
