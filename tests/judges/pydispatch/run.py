"""Run PyDispatcher's own tests, unchanged as its source distribution carries them, in this process.

`python -m tests.judges.pydispatch.run ours` has them import rxhub's modules as `pydispatch`, `… theirs` the peer's own.
The last line printed is JSON: whose modules were tested, how many tests ran, what failed.
"""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path

__all__ = ["main"]

UPSTREAM = Path(__file__).parent / "upstream"


def main(whose: str) -> int:
    if whose == "ours":
        from rxhub.compat.pydispatch import install

        install()
    import pydispatch.dispatcher

    suite = unittest.defaultTestLoader.discover(str(UPSTREAM), top_level_dir=str(UPSTREAM))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    told = {
        "modules": pydispatch.dispatcher.__name__,
        "run": result.testsRun,
        "skipped": len(result.skipped),
        "failed": [str(test) for test, _ in (*result.failures, *result.errors)],
    }
    print(json.dumps(told))
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
