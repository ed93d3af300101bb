"""What every test run shares: no test has a deadline, and the examples of README and docs are tests.

A `python` block is run; an `output` block holds exactly what the block above it prints. In a `console` block the
lines behind `$ ` are run by a shell in `tests/data`, and what stands below each is exactly what it prints, on stderr
and stdout. One page is one namespace, from top to bottom. `% skip: next` above a block leaves it out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser, SkipParser

__all__ = ["pytest_collect_file", "pytest_configure", "pytest_plugins"]

# By its name once more: where rxhub is not installed there is no entry point.
pytest_plugins = ["_rxhub_testing.fixtures"]


def pytest_configure(config: pytest.Config) -> None:
    """Show tracebacks as Python does where it may crash otherwise.

    In CPython 3.11 it does while pytest parses the source for a traceback and another thread compiles.
    """
    if sys.version_info < (3, 12) and config.option.tbstyle == "auto":
        config.option.tbstyle = "native"


# How long an example takes depends on the machine and on what else runs there; that is no property of the code.
settings.register_profile("rxhub", deadline=None)
settings.load_profile("rxhub")

ROOT = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
run_python = PythonEvaluator()


def python(example: Example) -> None:
    with redirect_stdout(StringIO()) as printed:
        run_python(example)
    example.namespace["printed"] = printed.getvalue()


def output(example: Example) -> None:
    assert example.namespace["printed"].strip() == example.parsed.strip()


def console(example: Example) -> None:
    for entry in f"\n{example.parsed}".split("\n$ ")[1:]:
        command, _, expected = entry.partition("\n")
        shell = f'rxhub() {{ "{sys.executable}" -m rxhub.cli "$@"; }}; {command}'
        ran = subprocess.run(
            ["sh", "-c", shell],
            cwd=ROOT / "tests" / "data",
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert ran.stdout.strip() == expected.strip()


pytest_collect_file = Sybil(
    parsers=[
        CodeBlockParser("python", python),
        CodeBlockParser("output", output),
        CodeBlockParser("console", console),
        SkipParser(),
    ],
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
    # Receivers of a page go with its names; some signals are the same for all.
    teardown=dict[str, Any].clear,
).pytest()
