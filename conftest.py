"""Configuration of all test runs: no test has a deadline, and the examples of README and docs are tests.

`python` blocks are run. An `output` block contains exactly what the block above it prints. In a `console` block, a
shell in `tests/data` runs the lines after `$ ` (and after a backslash), and the lines below contain exactly
their output on stderr and stdout. `environment` in the namespace of a page is added to the variables of its shells. The
blocks of a page share one namespace. `% skip: next` skips the next block, and `% invisible-code-block: python` contains
code that the page does not show.
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

# If rxhub is not installed, there is no entry point for it.
pytest_plugins = ["_rxhub_testing.fixtures"]


def pytest_configure(config: pytest.Config) -> None:
    """Show tracebacks of Python's own where pytest's can crash the interpreter.

    CPython 3.11 crashes if pytest parses source for a traceback while another thread compiles.
    """
    if sys.version_info < (3, 12) and config.option.tbstyle == "auto":
        config.option.tbstyle = "native"


# The duration of an example depends on the machine and its load, not on the code.
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
        while command.endswith("\\"):
            line, _, expected = expected.partition("\n")
            command += f"\n{line}"
        shell = f'rxhub() {{ "{sys.executable}" -m rxhub.cli "$@"; }}; {command}'
        ran = subprocess.run(
            ["sh", "-c", shell],
            cwd=ROOT / "tests" / "data",
            env=ENVIRONMENT | example.namespace.get("environment", {}),
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
    # Receivers of a page end with its namespace, because pages share some signals.
    teardown=dict[str, Any].clear,
).pytest()
