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
    assert ran.stderr == f"rxhub: missing dependency {missing}: pip install 'rxhub[cli]'\n"


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
    assert ran.stderr == f"rxhub: missing dependency {missing}: pip install rxhub\n"
    assert (ran.returncode, ran.stdout) == (2, "")


@pytest.mark.parametrize(
    "command", [["doctor"], ["--help"], ["explain", "topic=a"], ["serve"], ["streams", "add", "x"]]
)
def test_every_command_names_all_that_is_missing(command: list[str]) -> None:
    ran = without(CORE, f"sys.argv = {['rxhub', *command]}; from _rxhub_command import main; sys.exit(main())")
    assert ran.stderr == "rxhub: missing dependency reactivex, lark, msgspec, websockets: pip install rxhub\n"
    assert (ran.returncode, ran.stdout) == (2, "")


def test_importing_the_command_imports_no_dependency_of_it() -> None:
    code = "import sys, rxhub.cli; print(sorted({'typer', 'rich', 'lark'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"


def test_it_never_names_nothing_when_a_part_of_a_package_is_missing() -> None:
    code = """
import sys
sys.modules["websockets.asyncio"] = sys.modules["websockets.asyncio.client"] = None
sys.argv = ["rxhub", "listen", "topic=*", "--server", "http://127.0.0.1:1"]
from _rxhub_command import main
sys.exit(main())
"""
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert re.fullmatch(
        r"rxhub: missing dependency websockets\.asyncio\S*: pip install --force-reinstall rxhub\n", ran.stderr
    )
    assert ran.returncode == 2


@pytest.mark.parametrize("module", ["rxhub", "rxhub.cli"])
def test_as_a_module_it_is_the_same_command(module: str) -> None:
    ran = subprocess.run([sys.executable, "-m", module, "--help"], check=True, capture_output=True, text=True)
    assert "Usage: rxhub [OPTIONS]" in ran.stdout


def test_the_version_is_that_of_the_distribution() -> None:
    import rxhub

    assert rxhub.__version__ == version("rxhub")


@pytest.mark.parametrize(
    ("code", "missing", "expected"),
    [
        ("import rxhub", "reactivex", "rxhub needs reactivex: pip install rxhub"),
        ("import rxhub.server", "starlette", "rxhub.server needs starlette: pip install 'rxhub[server]'"),
        ("import rxhub.server.asgi", "starlette", "rxhub.server needs starlette: pip install 'rxhub[server]'"),
        ("from rxhub.server import running", "uvicorn", "rxhub.server needs uvicorn: pip install 'rxhub[server]'"),
        ("from rxhub.server import Backplane", "nats", "A backplane needs nats-py: pip install 'rxhub[nats]'"),
        (
            "from rxhub import EventHub; EventHub('nats://x')",
            "nats",
            "nats:// needs nats-py: pip install 'rxhub[nats]'",
        ),
        ("import rxhub.vidispine", "httpx", "rxhub.vidispine needs httpx: pip install 'rxhub[vidispine]'"),
        (
            "import rxhub.vidispine.notifications",
            "starlette",
            "rxhub.vidispine.notifications needs starlette: pip install 'rxhub[vidispine]'",
        ),
        (
            "from rxhub.testing import HubStateMachine",
            "hypothesis",
            "rxhub.testing.stateful needs hypothesis: pip install 'rxhub[testing]'",
        ),
        (
            "import rxhub.testing.strategies",
            "hypothesis",
            "rxhub.testing.strategies needs hypothesis: pip install 'rxhub[testing]'",
        ),
        (
            "from rxhub import EventHub; from rxhub.jupyter import live; live(EventHub().events)",
            "IPython",
            "A live table needs ipython: pip install 'rxhub[jupyter]'",
        ),
    ],
)
def test_what_needs_an_extra_names_it(code: str, missing: str, expected: str) -> None:
    ran = without([missing], f"\ntry:\n    {code}\nexcept ImportError as error:\n    print(error.name, error, sep='|')")
    assert ran.stderr == ""
    module, _, message = ran.stdout.strip().partition("|")
    assert (module.partition(".")[0], message) == (missing, expected)
