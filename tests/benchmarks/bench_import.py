"""Importing rxhub, against importing what it stands on.

The peer is `import reactivex, lark`: rxhub cannot be quicker than that as long as it needs both. Each
time is that of a fresh interpreter, whose own start is measured in the same turn and taken off. Bytecode is
cached for both, as pip does when it installs; a first run fills the cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns

from tests.benchmarks.measure import Row, at_most, interleave

__all__ = ["run"]

_ROUNDS = 21


class _Start:
    """A fresh interpreter that runs one statement."""

    def __init__(self, statement: str, bytecode: str) -> None:
        self._command = [sys.executable, "-X", f"pycache_prefix={bytecode}", "-c", statement]
        self._environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def __call__(self) -> float:
        begin = perf_counter_ns()
        subprocess.run(self._command, env=self._environment, check=True)
        return perf_counter_ns() - begin


def run() -> list[Row]:
    with TemporaryDirectory() as bytecode:
        starts = [_Start(what, bytecode) for what in ("import rxhub", "import reactivex, lark", "pass")]
        taken = interleave(starts, _ROUNDS)
    return [
        Row(
            "import rxhub",
            ours_ns=median(ours - bare for ours, _, bare in taken),
            peer_ns=median(peer - bare for _, peer, bare in taken),
            peer="import reactivex, lark",
            ratio=median((ours - bare) / (peer - bare) for ours, peer, bare in taken),
            goal=at_most(1.25),
        )
    ]
