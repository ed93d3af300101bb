"""PyDispatcher's own tests, on rxhub's modules and, so that the harness is proven, on its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("whose", "modules"),
    [("ours", "rxhub.compat.pydispatch.dispatcher"), ("theirs", "pydispatch.dispatcher")],
)
def test_pydispatchers_own_tests_pass(whose: str, modules: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.judges.pydispatch.run", whose],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told == {"modules": modules, "run": 21, "skipped": 0, "failed": []}
