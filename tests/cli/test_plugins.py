"""`rxhub plugins` starts what is installed, and shows what it connects."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.terminal import COMMAND, on_a_terminal
from tests.distributions import install

ROOT = Path(__file__).parents[2]

COLOUR = """
    from rxhub.signals.signal import Signal

    approved, unheard = Signal("approved"), Signal("unheard")

    def bootstrap(hub):
        print("hello")
        hub.subscribe("topic=shot", print, {"id": "shots"}, priority=20)
        approved.connect(lambda **named: None, sender="bob", where="version=1")

    def teardown(hub):
        print("bye")
"""


def path(site: Path) -> str:
    return os.pathsep.join(map(str, (ROOT, site)))


def plugins(site: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": path(site), **variables}
    return subprocess.run(
        [*COMMAND, "plugins", *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_without_plugins_it_says_where_they_would_be_named(tmp_path: Path) -> None:
    ran = plugins(tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "no plugins are installed: no distribution has entry points in the group rxhub.plugins\n"


def test_it_shows_who_is_connected_and_which_plugin_did_it(tmp_path: Path) -> None:
    install(tmp_path, "studio-colour", "1.2", {"colour": "site_colour"}, {"site_colour": COLOUR})
    ran = plugins(tmp_path)
    assert ran.stdout.splitlines() == [
        "<EventHub memory:// connected, 1 subscribers, not handled>",
        "  priority  subscription  callback        plugin  id",
        "        20  topic=shot    builtins.print  colour  shots",
        "signals of the process",
        "  priority  signal    receiver                                 sender  where      plugin",
        "       100  approved  site_colour.bootstrap.<locals>.<lambda>  'bob'   version=1  colour",
        "  no receivers of unheard",
        "1 plugin: 1 running",
        "     plugin  status   from               connections",
        "  1  colour  running  studio-colour 1.2  2",
    ]
    assert (ran.returncode, ran.stderr) == (0, "hello\nbye\n")


def test_it_ends_with_1_if_one_failed_and_shows_the_others(tmp_path: Path) -> None:
    behind = "\n    def behind(hub): ...\n    behind.requires = ['broken']"
    entry_points = {"broken": "site_broken", "colour": "site_colour", "behind": "site_colour:behind"}
    install(tmp_path, "studio", "1", entry_points, {"site_broken": "1 / 0", "site_colour": COLOUR + behind})
    ran = plugins(tmp_path)
    assert ran.returncode == 1
    assert ran.stdout.splitlines()[-4:] == [
        "     plugin  status   from      connections  requires  why",
        "  1  colour  running  studio 1  2",
        "     behind  failed   studio 1               broken    requires broken, which failed",
        "     broken  failed   studio 1                         ZeroDivisionError: division by zero",
    ]
    assert "site_broken.py" in ran.stderr and "Traceback" in ran.stderr


def test_it_lists_without_running_anything(tmp_path: Path) -> None:
    install(tmp_path, "studio", "1", {"exits": "site_exits"}, {"site_exits": "import os\nos._exit(9)"})
    ran = plugins(tmp_path, "--list")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == ["plugin  from      source", " exits  studio 1  site_exits"]


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "drawn"])
def test_a_terminal_has_frames_and_colours_unless_plain_is_asked_for(tmp_path: Path, plain: bool) -> None:
    install(tmp_path, "studio", "1", {"[red]": "site_colour"}, {"site_colour": COLOUR})
    status, seen = on_a_terminal("plugins", *["--plain"] * plain, PYTHONPATH=path(tmp_path))
    assert status == 0 and "[red]" in seen and "no receivers of unheard" in seen
    assert ("│" in seen, "\x1b[" in seen) == (not plain, not plain)
    status, seen = on_a_terminal("plugins", "-l", *["--plain"] * plain, PYTHONPATH=path(tmp_path))
    assert status == 0 and "site_colour" in seen and ("│" in seen) == (not plain)


def test_what_cannot_be_run_as_a_program_is_one_failure(tmp_path: Path) -> None:
    install(tmp_path, "studio", "1", {"script": "site_script"}, {"site_script": "import sys; sys.exit('usage: …')"})
    ran = plugins(tmp_path, PYTHONUTF8="1")
    assert ran.returncode == 1 and "script  failed" in ran.stdout
    assert sys.executable not in ran.stdout
