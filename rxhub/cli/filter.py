"""`rxhub filter`: select events in files and pipes, like grep."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.inputs import STDIN, UnreadableInput, decompressed, input_name, open_input
from rxhub.cli.jsonl import MAX_LINE_BYTES, read_lines
from rxhub.cli.options import DialectOption, Subscription, argument, flag, option
from rxhub.cli.output import print_error, progress_bar
from rxhub.expression import Dialect, compile, parse
from rxhub.expression.unmet import Unmet
from rxhub.text.printable import printable_json

__all__ = ["command"]

_LINES_PER_UPDATE = 500
_MAX_REPORTED_LINES = 10


@exits_with_status
def command(
    subscription: Subscription,
    files: Annotated[list[Path] | None, argument("FILE", "Events, one JSON object per line. - is stdin.")] = None,
    count: Annotated[bool, flag("Print only the number of selected lines.", "--count", "-c")] = False,
    invert: Annotated[bool, flag("Select the events that do not match.", "--invert", "-v")] = False,
    dialect: DialectOption = Dialect.RXHUB,
    max_line: Annotated[int, option("BYTES", "Longer lines are invalid.", min=1)] = MAX_LINE_BYTES,
) -> Status:
    """Print the events that match a subscription, each line unchanged. Files may be compressed with gzip or Zstandard.

    Exit status: 0 if a line was selected, 1 if none was, 2 after an error. Invalid lines are errors. They are skipped,
    and the first ten of each file are reported on stderr. If nothing matched, a terminal shows the key or value that
    no event had.
    """
    tree = parse(subscription, dialect)
    unmatched = Unmet(tree) if sys.stderr.isatty() and not invert else None
    search = _Search(compile(tree), invert, not count, max_line, unmatched)
    paths = files or [STDIN]
    # Not if the selected lines are printed on the same terminal.
    is_shown = sys.stderr.isatty() and (count or not sys.stdout.isatty()) and all(path.is_file() for path in paths)
    with progress_bar(is_shown, in_bytes=True) as bar:
        task = bar.add_task("filter", total=sum(path.stat().st_size for path in paths) if is_shown else None)
        for path in paths:
            search.through(path, partial(bar.advance, task))
    if count:
        typer.echo(search.selected)
    if unmatched is not None and not search.selected:
        print_error(*unmatched.lines())
    if search.failed:
        return Status.ERROR
    return Status.MATCHED if search.selected else Status.NOT_MATCHED


@dataclass
class _Search:
    """A search through files, which reports their errors and continues."""

    matches: Callable[[Mapping[str, Any]], bool]
    invert: bool
    printing: bool
    longest: int
    unmatched: Unmet | None
    selected: int = 0
    failed: bool = False
    _unfinished: bool = False

    def through(self, path: Path, advance: Callable[[float], object]) -> None:
        """Search one file; `advance` is called with numbers of bytes."""
        name = input_name(path)
        try:
            opened = open_input(path)
        except OSError as error:
            self._fail(f"{name}: {error.strerror}")
            return
        number = invalid = position = 0
        with opened as stream:
            regular = _is_regular(stream)
            if regular and self.printing and _is_output(stream):
                self._fail(f"{path}: the file is also the output")
                return
            try:
                with decompressed(stream, name) as plain:
                    for number, raw, candidate, fault in read_lines(plain, self.longest):
                        if candidate is None:
                            invalid += 1
                            if invalid <= _MAX_REPORTED_LINES:
                                self._fail(f"{name}:{number}: {fault}")
                        elif self.matches(candidate) is not self.invert:
                            self.selected += 1
                            if self.printing:
                                self._print(raw, flush=not regular)
                        elif self.unmatched is not None and not self.selected:
                            self.unmatched.add(candidate)
                        if regular and number % _LINES_PER_UPDATE == 0:
                            advance(stream.tell() - position)
                            position = stream.tell()
            except UnreadableInput as error:
                self._fail(f"{error} after line {number:,}; earlier lines were read" if number else str(error))
        if invalid > _MAX_REPORTED_LINES:
            self._fail(f"{name}: {invalid - _MAX_REPORTED_LINES:,} more invalid lines")

    def _print(self, raw: bytes, flush: bool) -> None:
        output = sys.stdout.buffer
        if sys.stdout.isatty():
            raw = printable_json(raw.decode()).encode()
        # The last line of a file may lack its newline: separate it from the first line of the next file.
        output.write(b"\n" + raw if self._unfinished else raw)
        self._unfinished = not raw.endswith(b"\n")
        if flush:
            output.flush()

    def _fail(self, message: str) -> None:
        self.failed = True
        print_error(message)


def _is_regular(stream: BinaryIO) -> bool:
    """Return whether the stream is a regular file, not a pipe, a terminal or a buffer."""
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _is_output(stream: BinaryIO) -> bool:
    """Return whether the stream is also stdout, so that reading it would never end."""
    try:
        return os.path.sameopenfile(stream.fileno(), sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is not a file
        return False
