"""The command `rxhub`.

`main` imports the commands when it runs: a bare `pip install rxhub` also installs the script, which then reports the
missing extra.

Each command is in the module of its name. The commands share `options`, `credentials`, `connect`, `inputs`,
`candidates`, `units` (times and sizes), `output`, `listen_view` (the live table), `help` and `exit_status`.
"""

from __future__ import annotations

import sys

__all__ = ["main"]

_EXTRAS = {
    "typer": "cli",
    "rich": "cli",
    "packaging": "cli",
    "backports": "cli",
    "starlette": "server",
    "uvicorn": "server",
    "nats": "nats",
}
"""Modules that commands import, and the extras that install them."""


def main() -> int:
    """Run the command line in `sys.argv`; return the exit status, if typer has not ended the process already."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        # Escape characters that the encoding of the terminal lacks, instead of failing.
        reconfigure(errors="backslashreplace")
    try:
        from rxhub.cli.app import app

        app(prog_name="rxhub")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        print(  # noqa: T201
            f"rxhub: missing dependency {missing}: pip install 'rxhub[{_EXTRAS[missing]}]'", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
