"""Importing modules and finding their hubs: errors name the module, the reason and the remedy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rxhub.worker.loading import LoadError, load

Write = Callable[[str, str], None]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module into the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)

    return write


ONE = "from rxhub import EventHub\nhub = same = EventHub()\n"


def test_the_only_hub_of_a_module_is_found(module: Write) -> None:
    module("work_one.py", ONE)
    assert [each.name for each in load(["work_one"])] == ["work_one:hub"]


def test_modules_of_one_hub_give_it_once(module: Write) -> None:
    module("work_pkg/__init__.py", "")
    module("work_pkg/hubs.py", ONE)
    module("work_pkg/more.py", "from work_pkg.hubs import hub\n")
    assert [each.name for each in load(["work_pkg.more:hub", "work_pkg.hubs"])] == ["work_pkg.more:hub"]


def test_a_hub_is_selected_by_its_name(module: Write) -> None:
    module(
        "work_two.py", "from rxhub import EventHub\na = EventHub()\nclass app:\n    b = EventHub()\nc = EventHub()\n"
    )
    assert [each.name for each in load(["work_two:app.b", "work_two:a"])] == ["work_two:app.b", "work_two:a"]
    with pytest.raises(LoadError, match=r"work_two has several hubs\. Give one of work_two:a, work_two:c"):
        load(["work_two"])


@pytest.mark.parametrize(
    ("target", "text", "message"),
    [
        ("work_bad", "", r"work_bad defines no EventHub\. Assign one to a name of the module"),
        ("work_bad:x", ONE, r"work_bad has no attribute x\. Its hub: work_bad:hub"),
        ("work_bad:EventHub", ONE, r"work_bad:EventHub is a type, not an EventHub\. Its hub: work_bad:hub"),
        ("work_bad.py", ONE, r"work_bad\.py names a file\. Give the module: work_bad"),
        ("./work_bad.py", ONE, r"'\./work_bad\.py' is not MODULE or MODULE:HUB.* Give the module: work_bad"),
        ("work_bad:", ONE, r"is not MODULE or MODULE:HUB"),
        (":hub", ONE, r"':hub' is not MODULE or MODULE:HUB, for example farm\.handlers:hub\.$"),
        ("", ONE, r"'' is not MODULE or MODULE:HUB, for example farm\.handlers:hub\.$"),
        ("work_bad.hub", ONE, r"hub is a hub of the module work_bad\. Use work_bad:hub\."),
        ("work_missing", "", r"there is no module work_missing in .* or on the Python path\. Run the command in"),
        ("work_bad.more", "", r"there is no module work_bad\.more in"),
        ("work_bad", "import work_missing\n", r"work_bad\.py:1\): it raised ModuleNotFoundError\."),
        ("work_bad", "x = 1\nx / 0\n", r"(?s)work_bad\.py:2\): it raised ZeroDivisionError\..*division by zero"),
        ("work_bad", "x = (\n", r"(?s)it raised SyntaxError\..*never closed"),
        ("work_bad", "raise SystemExit(3)\n", r"(?s)it raised SystemExit\..*3"),
        ("work_bad", f"{ONE}hub.subscribe('topic=', print)\n", r"Could not import work_bad \(.*work_bad\.py:3\): "),
        ("work_bad", f"{ONE}hub.process('topic=a', print, group='g')\n", r"work_bad\.py:3\): hub.process needs stored"),
    ],
)
def test_errors(module: Write, target: str, text: str, message: str) -> None:
    module("work_bad.py", text)
    with pytest.raises(LoadError, match=message) as raised:
        load([target])
    assert "loading.py" not in str(raised.value)


def test_an_error_of_a_module_contains_no_password(module: Write) -> None:
    module("work_bad.py", "url = 'nats://jane:hunter2@one'\nraise ValueError('nats://jane:hunter2@one,two')\n")
    with pytest.raises(LoadError, match=r"ValueError: nats://jane:\*\*\*@one,two") as raised:
        load(["work_bad"])
    assert "hunter2" not in str(raised.value)
