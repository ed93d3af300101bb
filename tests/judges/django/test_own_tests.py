"""Django's own tests of its signals, with ours in the place of `django.dispatch.Signal`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

FOUND = {
    "asgi": 22,
    "auth_tests": 6,
    "dispatch": 19,
    "m2m_signals": 14,
    "migrate_signals": 3,
    "settings_tests": 57,
    "signals": 22,
    "update_only_fields": 20,
}


@pytest.mark.parametrize(
    ("signal", "stands_in_place"),
    [("django", "django.dispatch.dispatcher.Signal"), ("rxhub", "rxhub.compat.django.signal.Signal")],
)
def test_the_tests_pass_with_the_signal_of(signal, stands_in_place):
    ran = subprocess.run(
        [sys.executable, str(HERE / "runner.py"), signal],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout.splitlines()[-1])
    assert report == {"signal": stands_in_place, "found": FOUND, "ran": sum(FOUND.values()), "troubles": []}
