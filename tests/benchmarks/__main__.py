"""Run the benchmarks in this folder, one after another, and count the goals that were reached."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from tests.benchmarks.measure import Row, table

__all__ = ["main"]

_logger = logging.getLogger(__name__)


def main(names: Sequence[str]) -> int:
    """Run the named benchmarks, or all.

    Returns:
        0 if all ran (a missed goal is told, not punished: machines differ), 1 if one raised, 2 if a name is unknown.
    """
    known = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    chosen = [name.removeprefix("bench_").removesuffix(".py") for name in names] or known
    if unknown := [name for name in chosen if name not in known]:
        print(f"No benchmark is called {', '.join(unknown)}. There are: {', '.join(known)}.", file=sys.stderr)
        return 2
    rows: list[Row] = []
    failed: list[str] = []
    for number, name in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {name} …", file=sys.stderr, flush=True)
        try:
            module = import_module(f"tests.benchmarks.bench_{name}")
            found: list[Row] = module.run()
        except Exception:
            _logger.exception("%s could not be run", name)
            failed.append(name)
            continue
        heading = (module.__doc__ or name).strip().splitlines()[0]
        print(f"\n{heading}\n{'─' * len(heading)}\n{table(found)}\n", flush=True)
        rows += found
    held = [row for row in rows if row.goal is not None]
    print(f"{sum(row.ok is True for row in held)} of {len(held)} goals reached.")
    if failed:
        print(f"Could not be run: {', '.join(failed)}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
