"""Run Django's own tests under Django's own test runner: `python runner.py rxhub|django`.

The last line is a JSON object: which class stands in the place of `django.dispatch.Signal`, how many tests were found
in each package and how many ran, and what did not pass.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent


def upstream():
    """The tests of the installed Django: of its own version, or of the newest one before it."""
    import django

    versions = {tuple(map(int, path.name.split("."))): path for path in (HERE / "upstream").glob("[0-9]*")}
    return versions[max(version for version in versions if version <= django.VERSION[:2])]


def run(signal, upstream, packages):
    if signal == "rxhub":
        from rxhub.compat.django import install

        install()
    sys.path[:0] = [str(upstream), str(HERE)]
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    from django.conf import settings

    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, *packages]
    import django

    django.setup()
    from django.db.models.signals import ModelSignal
    from django.test.runner import DiscoverRunner

    class Runner(DiscoverRunner):
        def suite_result(self, suite, result, **keywords):
            self.result = result
            return super().suite_result(suite, result, **keywords)

        def build_suite(self, *arguments, **keywords):
            suite = super().build_suite(*arguments, **keywords)
            self.found = Counter(type(test).__module__.partition(".")[0] for test in suite)
            return suite

    warnings.simplefilter("error", ResourceWarning)
    warnings.simplefilter("error", RuntimeWarning)
    runner = Runner(verbosity=1, interactive=False)
    runner.run_tests(list(packages))
    kind = ModelSignal.__base__
    return {
        "signal": f"{kind.__module__}.{kind.__qualname__}",
        "found": dict(runner.found),
        "ran": runner.result.testsRun,
        "troubles": [
            [trouble, test.id(), str(text)]
            for trouble in ("failures", "errors", "skipped", "expectedFailures")
            for test, text in getattr(runner.result, trouble)
        ],
    }


if __name__ == "__main__":
    tests = upstream()
    found = sorted(package.parent.name for package in tests.glob("*/__init__.py"))
    report = {"version": tests.name, **run(sys.argv[1], tests, found)}
    print()
    print(json.dumps(report))
