"""Run ftrack's own tests of its event hub, unchanged, in this process: `python -m tests.judges.ftrack.run HUB`.

HUB is rxhub or ftrack. The last line is a JSON object: the class of `ftrack_api.event.hub.EventHub`, how many tests
passed, and which did not.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from rxhub.server import running

UPSTREAM = Path(__file__).parent / "upstream"


class Fixtures:
    """What ftrack's tests use of their `conftest.py`, of a `Session` and of pytest-mock."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        parametrize = getattr(metafunc.module, f"parametrize_{metafunc.function.__name__}", None)
        if parametrize is not None:
            parametrize(metafunc)

    @pytest.fixture(scope="session")
    def server(self) -> Any:
        with running() as server:
            yield server

    @pytest.fixture
    def session(self, server: Any) -> Any:
        import ftrack_api.event.hub

        user = {"server_url": server.url, "api_user": server.api_user, "api_key": server.api_key}
        hub = ftrack_api.event.hub.EventHub(*user.values())

        def close() -> None:
            if hub.connected:
                hub.disconnect()

        yield SimpleNamespace(**user, event_hub=hub, close=close)
        close()

    @pytest.fixture
    def session_no_autoconnect_hub(self, session: Any) -> Any:
        return session

    @pytest.fixture
    def mocker(self) -> Any:
        patchers: list[Any] = []

        def patched(patcher: Any) -> Any:
            patchers.append(patcher)
            return patcher.start()

        def patch(*arguments: Any) -> Any:
            return patched(mock.patch(*arguments))

        patch.object = lambda *arguments: patched(mock.patch.object(*arguments))  # type: ignore[attr-defined]
        yield SimpleNamespace(patch=patch)
        for patcher in reversed(patchers):
            patcher.stop()


class Report:
    def __init__(self) -> None:
        self.passed = 0
        self.failed: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.rpartition("/")[2]
        if report.failed or (report.skipped and not hasattr(report, "wasxfail")):
            self.failed[name] = str(report.longrepr)
        elif report.when == "call":
            self.passed += 1


def main(whose: str) -> None:
    if whose == "rxhub":
        from rxhub.compat.ftrack import install

        install()
    flaky = ModuleType("flaky")
    flaky.flaky = lambda **_: lambda test: test  # type: ignore[attr-defined]
    sys.modules["flaky"] = flaky
    os.chdir(UPSTREAM)
    report = Report()
    # It sleeps for 10 s and runs the program that is not here.
    heartbeat = "--deselect=test_hub.py::test_server_heartbeat_response"
    options = ["-c", os.devnull, "--rootdir=.", "--confcutdir=.", "--import-mode=importlib", "-p", "no:cacheprovider"]
    options += ["-p", "no:django"]
    # Without sources in tracebacks: Python 3.11 fails to parse them while another thread logs an exception.
    pytest.main([*options, "--tb=line", "-q", "-n", "0", heartbeat, "."], plugins=[Fixtures(), report])
    import ftrack_api.event.hub

    hub = ftrack_api.event.hub.EventHub
    told = {"hub": f"{hub.__module__}.{hub.__qualname__}", "passed": report.passed, "failed": report.failed}
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
