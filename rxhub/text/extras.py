"""Errors about missing packages, with the extra of rxhub that installs them."""

from __future__ import annotations

import sys

__all__ = ["MissingDependency", "missing_dependency"]

_PACKAGES = {"IPython": "ipython", "backports": "backports.zstd", "nats": "nats-py"}
"""The packages of modules that have another name."""


class MissingDependency(ModuleNotFoundError):
    """A package that rxhub needs is not installed. The message says how to install it."""


def missing_dependency(error: ModuleNotFoundError, what: str, extra: str = "") -> ModuleNotFoundError:
    """The error to raise instead of an import error.

    Args:
        error: the import error.
        what: the part of rxhub that needs the module, for example `rxhub.server`.
        extra: the extra that installs the module; empty for the dependencies of rxhub itself.

    Returns:
        A `MissingDependency` with the same `name`; `error` itself if it already names an extra, or if the module
        belongs to rxhub or the standard library.
    """
    module = (error.name or "").partition(".")[0]
    if isinstance(error, MissingDependency) or module in {"", "rxhub", *sys.stdlib_module_names}:
        return error
    remedy = f"pip install 'rxhub[{extra}]'" if extra else "pip install rxhub"
    return MissingDependency(f"{what} needs {_PACKAGES.get(module, module)}: {remedy}", name=error.name)
