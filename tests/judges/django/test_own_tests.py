"""Django's own tests of its signals, with ours in the place of `django.dispatch.Signal`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

FOUND = {
    "5.2": {
        "asgi": 35,
        "auth_tests": 6,
        "defer_regress": 18,
        "delete": 59,
        "dispatch": 19,
        "m2m_signals": 14,
        "migrate_signals": 3,
        "settings_tests": 57,
        "signals": 22,
    },
    "6.1": {
        "asgi": 40,
        "auth_tests": 6,
        "defer_regress": 20,
        "delete": 64,
        "dispatch": 21,
        "m2m_signals": 16,
        "migrate_signals": 3,
        "settings_tests": 57,
        "signals": 34,
    },
}


# SQLite can defer these checks, and the test is of databases that cannot.
OF_ANOTHER_DATABASE = {("skipped", "delete.tests.DeletionTests.test_cannot_defer_constraint_checks")}


@pytest.fixture(scope="module")
def reports():
    """What both runs tell; side by side, for Django's tests mostly sleep."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}

    def run_with(signal):
        ran = subprocess.run(
            [sys.executable, str(HERE / "runner.py"), signal],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(KINDS, pool.map(run_with, KINDS), strict=True))


KINDS = {"django": "django.dispatch.dispatcher.Signal", "rxhub": "rxhub.compat.django.signal.Signal"}


@pytest.mark.parametrize("kind", KINDS)
def test_they_pass_with_djangos_own_signal_and_with_ours(reports, kind):
    report = reports[kind]
    assert report["signal"] == KINDS[kind]
    assert report["found"] == FOUND[report["version"]]
    assert report["ran"] == sum(report["found"].values())
    troubles = {(trouble, test): text for trouble, test, text in report["troubles"]}
    assert troubles.keys() == OF_ANOTHER_DATABASE, troubles
