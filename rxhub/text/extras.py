"""Errors about missing packages: they name the extra of rxhub that brings the package."""

from __future__ import annotations

import sys

__all__ = ["MissingDependency", "missing_dependency"]

_PACKAGES = {"IPython": "ipython", "nats": "nats-py"}
"""By the name of a module: its package, where that has another name."""


class MissingDependency(ModuleNotFoundError):
    """A package that a part of rxhub needs is not installed. The message says how to install it."""


def missing_dependency(error: ModuleNotFoundError, what: str, extra: str = "") -> ModuleNotFoundError:
    """The error to raise in place of one that an import raised.

    Args:
        error: what the import raised.
        what: the part of rxhub that needs the module, for example `rxhub.server`.
        extra: the extra that brings the module; empty for the dependencies of rxhub itself.

    Returns:
        A `MissingDependency` with the same `name`. It is `error` itself if that already names an extra, or if the
        module belongs to rxhub or to the standard library, which no extra brings.
    """
    module = (error.name or "").partition(".")[0]
    if isinstance(error, MissingDependency) or module in {"", "rxhub", *sys.stdlib_module_names}:
        return error
    remedy = f"pip install 'rxhub[{extra}]'" if extra else "pip install rxhub"
    return MissingDependency(f"{what} needs {_PACKAGES.get(module, module)}: {remedy}", name=error.name)
