"""The entry points for pytest and Hypothesis in another project."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

SUITE = """
import socket

from rxhub import Event, EventHub
from rxhub.testing import Marbles, Nats, Recording, VirtualHub


def test_hub(hub, recorder):
    hub.publish(Event("a"))
    hub.advance(3600)
    assert [event.topic for event in recorder.events] == ["a"]


def test_marbles_pass(marbles):
    marbles.publish("a")
    marbles.expect(marbles.hub.on("topic=b")).to_be("")


def test_marbles_say_nothing(marbles):
    marbles.expect(marbles.hub.on("topic=b"))


def test_marbles_fail(marbles):
    marbles.expect(marbles.cold("-a")).to_be("a")


def test_server(server):
    with EventHub(server.url, server.api_user, server.api_key) as hub:
        hub.connect()
        assert hub.connected


def test_nats(nats, nats_of_the_session):
    assert isinstance(nats, Nats)
    host, port = nats.url.removeprefix("nats://").split(":")
    socket.create_connection((host, int(port)), 10).close()
    other = Nats.on(nats_of_the_session)
    assert (other.url, other.user) == (nats.url, nats.user)
    assert other.stream != nats.stream
"""

LIGHT = """
import sys


def test_nothing_of_rxhub_is_imported():
    assert "_rxhub_testing.fixtures" in sys.modules
    assert not [name for name in sys.modules if name.partition(".")[0] in ("rxhub", "reactivex", "lark")]
"""

TYPES = """
import sys
from hypothesis import strategies as st

assert "rxhub" not in sys.modules
from rxhub import Event
assert "rxhub.testing.strategies" not in sys.modules
from hypothesis import find
assert len(find(st.from_type(Event), lambda event: True).id) == 32
"""

TYPES_LATER = """
from rxhub import Event
import sys
assert "hypothesis" not in sys.modules
from hypothesis import find, strategies as st
assert len(find(st.from_type(Event), lambda event: True).id) == 32
"""

TYPES_OF_A_CHECKOUT = """
from rxhub.expression import And, Condition, Expression, Not, Or
from rxhub.testing import strategies
from hypothesis import find, settings, strategies as st
for kind in (And, Or, Not, Condition, Expression):
    assert str(find(st.from_type(kind), lambda tree: True, settings=settings(max_examples=3, database=None)))
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment with the entry points of pyproject.toml, optionally installed twice."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    site = tmp_path / "site"
    metadata = site / "rxhub_beside-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: rxhub-beside\nVersion: 0\n")
    lines = []
    for group in ("pytest11", "hypothesis"):
        lines.append(f"[{group}]")
        lines += [f"{name} = {target}" for name, target in groups[group].items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    # Not the settings of this run, nor those that Django's tests have set.
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "PYTEST_"))}
    return {**own, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}


def pytest_in(folder: Path, environment: dict[str, str], suite: str, *options: str) -> str:
    (folder / "test_suite.py").write_text(suite)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_suite.py"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=100
    ).stdout


def test_the_fixtures_are_there(tmp_path: Path, installed: dict[str, str]) -> None:
    output = pytest_in(tmp_path, installed, SUITE)
    assert "2 failed, 4 passed" in output
    # In the test itself, not in its teardown.
    assert "FAILED test_suite.py::test_marbles_fail - AssertionError: The stream differs" in output
    assert "FAILED test_suite.py::test_marbles_say_nothing" in output
    assert "expect(<events" in output


def test_naming_the_plugin_too_does_not_load_it_twice(tmp_path: Path, installed: dict[str, str]) -> None:
    named = 'pytest_plugins = ["_rxhub_testing.fixtures"]\n'
    assert "1 passed" in pytest_in(tmp_path, installed, named + LIGHT, "-p", "_rxhub_testing.fixtures")


def test_a_run_that_uses_none_of_it_imports_nothing(tmp_path: Path, installed: dict[str, str]) -> None:
    assert "1 passed" in pytest_in(tmp_path, installed, LIGHT)


def test_hypothesis_learns_the_types_from_whoever_imports_the_strategies() -> None:
    command = [sys.executable, "-W", "error", "-c", TYPES_OF_A_CHECKOUT]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("program", [TYPES, TYPES_LATER], ids=["Hypothesis first", "rxhub first"])
def test_hypothesis_learns_the_types_whoever_comes_first(installed: dict[str, str], program: str) -> None:
    command = [sys.executable, "-W", "error", "-c", program]
    ran = subprocess.run(command, env=installed, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
