"""`rxhub keys`: show which keys events have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from rxhub.cli.candidates import CandidateReader
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.inputs import STDIN
from rxhub.cli.options import JsonLines, argument
from rxhub.cli.output import print_json, print_table, print_text
from rxhub.exploration.keys import KeyCounter, key_row

__all__ = ["command"]


@exits_with_status
def command(
    files: Annotated[
        list[Path] | None, argument("FILE", "Events, one JSON object per line, or an array. - is stdin.")
    ] = None,
    json: JsonLines = False,
) -> Status:
    """Show which dotted keys events have: how often, with values of which types, and examples without secrets.

    Files may be compressed with gzip or Zstandard. Other JSON objects are counted too.

    Exit status: 0 if there was an object, 1 if there was none, 2 after an error.
    """
    reader = CandidateReader()
    counter = KeyCounter()
    for candidate in reader.read(files or [STDIN], "keys"):
        counter.add(candidate.fields)
    keys = counter.result()
    if json:
        for key in keys:
            print_json(msgspec.to_builtins(key._asdict()))
    elif keys:
        print_table(("events", "key", "types", "examples"), [key_row(key, keys.events) for key in keys])
        if keys.omitted:
            print_text(f"{keys.omitted:,} further keys were not counted")
    if reader.failed:
        return Status.ERROR
    return Status.MATCHED if keys.events else Status.NOT_MATCHED
