"""What every test run shares: the examples of the pages are tests, and no test has a deadline."""

from __future__ import annotations

from hypothesis import settings
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser

__all__ = ["pytest_collect_file"]

# How long an example takes depends on the machine and on what else runs there; that is no property of the code.
settings.register_profile("rxhub", deadline=None)
settings.load_profile("rxhub")

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md"],
).pytest()
