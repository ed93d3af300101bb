"""The script `rxhub`: outside of rxhub, which cannot be imported, and so can say nothing, without what it needs."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

_NEEDED = ("reactivex", "lark", "msgspec", "websockets")


def main() -> int:
    """Run the command line in `sys.argv`.

    Returns:
        The exit status, where the command has not ended the process with one already.
    """
    try:
        from rxhub.cli import main as run

        return run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        missing = [name for name in _NEEDED if find_spec(name) is None]
        # If none is, a package is there without this module: its version is too old, or its files are incomplete.
        remedy = "pip install rxhub" if missing else "pip install --force-reinstall rxhub"
        print(f"rxhub: this needs {', '.join(missing) or error.name}: {remedy}", file=sys.stderr)  # noqa: T201
        return 2
