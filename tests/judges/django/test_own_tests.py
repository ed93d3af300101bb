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
    "defer_regress": 18,
    "delete": 59,
    "dispatch": 19,
    "m2m_signals": 14,
    "migrate_signals": 3,
    "settings_tests": 57,
    "signals": 22,
}


# SQLite can defer these checks, and the test is of databases that cannot.
OF_ANOTHER_DATABASE = {("skipped", "delete.tests.DeletionTests.test_cannot_defer_constraint_checks")}


def run_with(signal):
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
    assert report["found"] == FOUND
    assert report["ran"] == sum(FOUND.values())
    troubles = {(trouble, test): text for trouble, test, text in report["troubles"]}
    return report["signal"], troubles


def test_they_pass_with_djangos_own_signal():
    signal, troubles = run_with("django")
    assert signal == "django.dispatch.dispatcher.Signal"
    assert troubles.keys() == OF_ANOTHER_DATABASE, troubles


def test_they_pass_with_ours():
    signal, troubles = run_with("rxhub")
    assert signal == "rxhub.compat.django.signal.Signal"
    assert troubles.keys() == OF_ANOTHER_DATABASE, troubles
