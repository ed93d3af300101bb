"""The script `rxhub`, outside of `rxhub`: importing rxhub without its dependencies fails before it can report them."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

_DEPENDENCIES = ("reactivex", "lark", "msgspec", "websockets")


def main() -> int:
    """Run the command line in `sys.argv`.

    Returns:
        The exit status, if typer has not ended the process already.
    """
    try:
        from rxhub.cli import main as run

        return run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _DEPENDENCIES:
            raise
        missing = [name for name in _DEPENDENCIES if find_spec(name) is None]
        # If all are installed, one lacks a module: its version is too old, or its files are incomplete.
        remedy = "pip install rxhub" if missing else "pip install --force-reinstall rxhub"
        print(f"rxhub: missing dependency {', '.join(missing) or error.name}: {remedy}", file=sys.stderr)  # noqa: T201
        return 2
