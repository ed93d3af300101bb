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
        missing = ", ".join([name for name in _NEEDED if find_spec(name) is None])
        print(f"rxhub: this needs {missing}: pip install rxhub", file=sys.stderr)  # noqa: T201
        return 2
