"""Sentry's own tests of the spans that it makes of Django's signals, on Django's signal and on ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("whose", "signal"),
    [("django", "django.dispatch.dispatcher.Signal"), ("rxhub", "rxhub.compat.django.signal.Signal")],
)
def test_sentrys_own_tests_of_signals_pass(whose, signal):
    ended = subprocess.run(
        [sys.executable, str(HERE / "run.py"), whose], capture_output=True, text=True, timeout=110, check=False
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["failed"] == []
    assert told["signal"] == signal
    assert told["passed"] == [
        f"test_signals_spans{of}[{streaming}]" for of in ("", "_disabled", "_filtering") for streaming in (False, True)
    ]
