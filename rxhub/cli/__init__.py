"""The command `rxhub`.

Only `main` lives here, and it imports nothing of the commands before it runs: `rxhub` is installed as a script with
the bare library too, and then says what is missing.
"""

from __future__ import annotations

import sys

__all__ = ["main"]

_NEEDED = {"typer": "cli", "rich": "cli", "starlette": "server", "uvicorn": "server", "nats": "nats"}
"""What a command imports beside the core, and the extra that brings it."""


def main() -> int:
    """Run the command line in `sys.argv`.

    Returns:
        The exit status, where typer has not ended the process with one already.
    """
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        # What a terminal's encoding lacks is shown by its number, instead of ending the command.
        reconfigure(errors="backslashreplace")
    try:
        from rxhub.cli.app import app

        app(prog_name="rxhub")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _NEEDED:
            raise
        print(f"rxhub: this needs {missing}: pip install 'rxhub[{_NEEDED[missing]}]'", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
