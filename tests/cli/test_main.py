"""The command itself, and how it behaves where its dependencies are missing."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.terminal import rxhub


def test_help_names_the_commands_and_asks_for_one() -> None:
    assert rxhub("--help").returncode == 0
    bare = rxhub()
    assert bare.returncode == 2
    for command in (b"filter", b"explain"):
        assert command in bare.stdout + bare.stderr


def test_version_is_the_installed_one() -> None:
    ran = rxhub("--version")
    assert (ran.returncode, ran.stdout.decode()) == (0, f"rxhub {version('rxhub')}\n")


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_dependencies_it_says_in_a_line_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from rxhub.cli import main; sys.exit(main())"
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr == f"rxhub: this needs {missing}: pip install 'rxhub[cli]'\n"


def without(missing: Iterable[str], code: str) -> subprocess.CompletedProcess[str]:
    hiding = f"import sys; sys.modules.update(dict.fromkeys({sorted(missing)!r})); "
    return subprocess.run([sys.executable, "-c", hiding + code], check=False, capture_output=True, text=True)


CORE = {
    re.split(r"[^\w-]", requirement, maxsplit=1)[0]: requirement
    for requirement in tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "dependencies"
    ]
}
COMMANDS = {
    # One that needs it, where not all do.
    "lark": ["explain", "topic=studio.* and not data.frames > 3"],
    "websockets": ["listen", "topic=*", "--server", "http://127.0.0.1:1"],
}


@pytest.mark.parametrize("missing", CORE)
def test_without_what_rxhub_itself_needs_it_says_in_a_line_what_to_install(missing: str) -> None:
    arguments = ["rxhub", *COMMANDS.get(missing, ["doctor"])]
    ran = without([missing], f"sys.argv = {arguments}; from _rxhub_command import main; sys.exit(main())")
    assert ran.stderr == f"rxhub: this needs {missing}: pip install rxhub\n"
    assert (ran.returncode, ran.stdout) == (2, "")


@pytest.mark.parametrize(
    "command", [["doctor"], ["--help"], ["explain", "topic=a"], ["serve"], ["streams", "add", "x"]]
)
def test_every_command_names_all_that_is_missing(command: list[str]) -> None:
    ran = without(CORE, f"sys.argv = {['rxhub', *command]}; from _rxhub_command import main; sys.exit(main())")
    assert ran.stderr == "rxhub: this needs reactivex, lark, msgspec, websockets: pip install rxhub\n"
    assert (ran.returncode, ran.stdout) == (2, "")


def test_importing_the_command_imports_no_dependency_of_it() -> None:
    code = "import sys, rxhub.cli; print(sorted({'typer', 'rich', 'lark'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"
