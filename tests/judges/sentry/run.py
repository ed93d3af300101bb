"""Run Sentry's own tests of Django's signals, unchanged, in this process: `python run.py rxhub|django`.

The last line is a JSON object: which class stood in the place of `django.dispatch.Signal`, what passed, what did not.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path

UPSTREAM = Path(__file__).parent / "upstream"


class Report:
    def __init__(self):
        self.passed = []
        self.failed = []

    def pytest_runtest_logreport(self, report):
        if report.failed or (report.when == "call" and report.skipped):
            self.failed.append([report.nodeid.rpartition("::")[2], str(report.longrepr)])
        elif report.when == "call":
            self.passed.append(report.nodeid.rpartition("::")[2])


def main(whose):
    if whose == "rxhub":
        from rxhub.compat.django import install

        install()
    import pytest

    # It warns of its deprecation when it is imported, and Sentry looks whether it is there.
    sys.modules["eventlet"] = None
    try:
        # Sentry's conftest imports it if it is there, and takes the warning that this may give for a failure.
        import_module("starlette.testclient")
    except ImportError:
        pass
    os.chdir(UPSTREAM)
    sys.path.insert(0, str(UPSTREAM))
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.integrations.django.myapp.settings"
    report = Report()
    tests = "tests/integrations/django/test_basic.py"
    pytest.main(["-p", "no:cacheprovider", "-q", "-k", "signal", "--reuse-db", tests], plugins=[report])
    from django.db.models.signals import ModelSignal

    signal = ModelSignal.__base__
    name = f"{signal.__module__}.{signal.__qualname__}"
    print(json.dumps({"signal": name, "passed": sorted(report.passed), "failed": report.failed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
