"""The command itself, and how it behaves where its dependencies are missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

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


def test_importing_the_command_imports_no_dependency_of_it() -> None:
    code = "import sys, rxhub.cli; print(sorted({'typer', 'rich', 'lark'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"
