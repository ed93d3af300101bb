"""`rxhub filter`: select events in files and pipes, like grep."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rxhub.cli.candidates import CandidateReader
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.inputs import STDIN
from rxhub.cli.options import DialectOption, Subscription, argument, flag, option
from rxhub.cli.output import print_error, print_text
from rxhub.exploration.jsonl import MAX_LINE_BYTES
from rxhub.expression import Dialect, Expression, compile, parse
from rxhub.expression.match_counts import MatchCounts
from rxhub.expression.unmet import Unmet
from rxhub.text.layout import format_tree
from rxhub.text.printable import printable_json

__all__ = ["command"]


@exits_with_status
def command(
    subscription: Subscription,
    files: Annotated[list[Path] | None, argument("FILE", "Events, one JSON object per line. - is stdin.")] = None,
    count: Annotated[bool, flag("Print only the number of selected lines.", "--count", "-c")] = False,
    invert: Annotated[bool, flag("Select the events that do not match.", "--invert", "-v")] = False,
    explain: Annotated[bool, flag("Print how many events each part of the subscription matches.", "--explain")] = False,
    dialect: DialectOption = Dialect.RXHUB,
    max_line: Annotated[int, option("BYTES", "Longer lines are invalid.", min=1)] = MAX_LINE_BYTES,
) -> Status:
    """Print the events that match a subscription, each line unchanged. Files may be compressed with gzip or Zstandard.

    --explain prints the subscription as a tree instead of the lines, and why no event matched.

    Exit status: 0 if a line was selected, 1 if none was, 2 after an error. Invalid lines are errors. They are skipped,
    and the first ten of each file are reported on stderr. If nothing matched, a terminal shows the key or value that
    no event had.
    """
    if explain and (count or invert):
        raise typer.BadParameter("Use it without --count and --invert.", param_hint="--explain")
    tree = parse(subscription, dialect)
    reader = CandidateReader(max_line, prints_lines=not (count or explain))
    paths = files or [STDIN]
    if explain:
        selected = _explain(tree, reader, paths)
    else:
        unmatched = Unmet(tree) if sys.stderr.isatty() and not invert else None
        selected = _select(tree, reader, paths, invert, count, unmatched)
        if count:
            typer.echo(selected)
        if unmatched is not None and not selected:
            print_error(*unmatched.lines())
    if reader.failed:
        return Status.ERROR
    return Status.MATCHED if selected else Status.NOT_MATCHED


def _explain(tree: Expression, reader: CandidateReader, paths: list[Path]) -> int:
    counts = MatchCounts(tree)
    for candidate in reader.read(paths, "filter"):
        counts.add(candidate.fields)
    print_text("\n".join(format_tree(counts.outline())))
    if not counts.matched:
        print_error(*counts.hints())
    return counts.matched


def _select(
    tree: Expression, reader: CandidateReader, paths: list[Path], invert: bool, count: bool, unmatched: Unmet | None
) -> int:
    """Print the selected lines, unless they are only counted; return their number."""
    matches = compile(tree)
    lines = _Lines()
    selected = 0
    for raw, fields, is_regular in reader.read(paths, "filter"):
        if matches(fields) is not invert:
            selected += 1
            if not count:
                lines.write(raw, flush=not is_regular)
        elif unmatched is not None and not selected:
            unmatched.add(fields)
    return selected


class _Lines:
    """The selected lines on stdout."""

    def __init__(self) -> None:
        self._unfinished = False

    def write(self, raw: bytes, flush: bool) -> None:
        output = sys.stdout.buffer
        if sys.stdout.isatty():
            raw = printable_json(raw.decode()).encode()
        # The last line of a file may lack its newline: separate it from the first line of the next file.
        output.write(b"\n" + raw if self._unfinished else raw)
        self._unfinished = not raw.endswith(b"\n")
        if flush:
            output.flush()
