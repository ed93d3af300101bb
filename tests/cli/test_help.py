"""The help of every command names its arguments and options in words."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from rxhub.cli.app import app


def commands(group: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for command in group.registered_commands:
        assert command.name is not None
        yield (*path, command.name)
    for inner in group.registered_groups:
        assert inner.typer_instance is not None and inner.name is not None
        yield from commands(inner.typer_instance, (*path, inner.name))


@pytest.mark.parametrize("command", list(commands(app)), ids=" ".join)
def test_help_shows_no_types_of_python(command: tuple[str, ...]) -> None:
    ran = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}, prog_name="rxhub")
    assert ran.exit_code == 0
    assert not re.search(r"<\w|\[\[|\]\.\.\.\]|\{|INTEGER|TEXT\b|FLOAT|list\[|int range", ran.output)
    usage = next(line for line in ran.output.splitlines() if "Usage:" in line)
    assert re.fullmatch(rf" *Usage: rxhub {' '.join(command)}[ A-Z\[\].]*", usage)
    for line in ran.output.splitlines():
        option = re.match(r"│ +(\*)? +--([\w-]+)", line)
        if option is not None:
            assert re.search(r"  [A-Z]", line) or option[2] in ("help", "version"), f"{line} has no help"
