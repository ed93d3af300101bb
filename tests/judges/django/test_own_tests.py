"""Django's own tests of its signals, with ours in the place of `django.dispatch.Signal`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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


OF_INNARDS = {
    # Puts a mock in the place of `weakref.ref` and asks whether it was called; our connection is a subclass of it.
    "signals.tests.SignalTests.test_lazy_model_signal",
}


def report_of(signal):
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
    return json.loads(ran.stdout.splitlines()[-1])


def test_they_pass_with_djangos_own_signal():
    assert report_of("django") == {
        "signal": "django.dispatch.dispatcher.Signal",
        "found": FOUND,
        "ran": sum(FOUND.values()),
        "troubles": [],
    }


def test_they_pass_with_ours():
    report = report_of("rxhub")
    assert report["signal"] == "rxhub.compat.django.signal.Signal"
    assert report["found"] == FOUND
    assert report["ran"] == sum(FOUND.values())
    troubles = {test: (trouble, text) for trouble, test, text in report["troubles"]}
    assert troubles.keys() == OF_INNARDS, troubles
