"""Importing rxhub, against importing what it stands on.

The peer is `import reactivex, lark`: rxhub cannot be quicker than that as long as it needs both. Each
time is that of a fresh interpreter, whose own start is measured in the same turn and taken off.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter_ns

from tests.benchmarks.measure import Row, at_most, interleave

__all__ = ["run"]

_ROUNDS = 21


class _Start:
    """A fresh interpreter that runs one statement."""

    def __init__(self, statement: str) -> None:
        self._command = [sys.executable, "-c", statement]

    def __call__(self) -> float:
        begin = perf_counter_ns()
        subprocess.run(self._command, check=True)
        return perf_counter_ns() - begin


def run() -> list[Row]:
    taken = interleave([_Start("import rxhub"), _Start("import reactivex, lark"), _Start("pass")], _ROUNDS)
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
