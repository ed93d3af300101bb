"""PyDispatcher, implemented with rxhub: import from `rxhub.compat.pydispatch` what you imported from `pydispatch`."""

from __future__ import annotations

import sys
from types import ModuleType

from rxhub.compat.pydispatch import dispatcher, errors, robust, robustapply, saferef
from rxhub.compat.pydispatch.dispatcher import signal_of

__all__ = ["dispatcher", "errors", "install", "robust", "robustapply", "saferef", "signal_of", "uninstall"]

__version__ = "2.0.7"  # of PyDispatcher

_NAMES = ("dispatcher", "errors", "robust", "robustapply", "saferef")
_displaced: dict[str, ModuleType] = {}


def install() -> None:
    """Make `import pydispatch` import these modules. Modules that imported PyDispatcher before keep it."""
    ours = _ours()
    for name in [name for name in sys.modules if name == "pydispatch" or name.startswith("pydispatch.")]:
        if sys.modules[name] is not ours.get(name):
            _displaced[name] = sys.modules.pop(name)
    sys.modules.update(ours)


def uninstall() -> None:
    """Undo `install()`."""
    for name, module in _ours().items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
    sys.modules.update(_displaced)
    _displaced.clear()


def _ours() -> dict[str, ModuleType]:
    return {"pydispatch": sys.modules[__name__], **{f"pydispatch.{name}": globals()[name] for name in _NAMES}}
