"""`rxhub filter`: select events in files and pipes, like grep."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from rxhub.cli.compressed import UnsupportedFormat, damage_reason, decompress
from rxhub.cli.exit_status import STDIN, Status, exits_with_status, input_name, open_input
from rxhub.cli.jsonl import MAX_LINE_BYTES, JsonLine, read_lines
from rxhub.cli.options import DialectOption, Subscription
from rxhub.cli.output import print_error
from rxhub.expression import Dialect, compile, parse
from rxhub.expression.unmet import Unmet
from rxhub.text.printable import printable_json

__all__ = ["command"]

_LINES_PER_UPDATE = 500
_MAX_REPORTED_LINES = 10


@exits_with_status
def command(
    subscription: Subscription,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Events, one JSON object per line. - is stdin.")
    ] = None,
    count: Annotated[bool, typer.Option("--count", "-c", help="Print only the number of selected lines.")] = False,
    invert: Annotated[bool, typer.Option("--invert", "-v", help="Select the events that do not match.")] = False,
    dialect: DialectOption = Dialect.RXHUB,
    max_line: Annotated[int, typer.Option(min=1, metavar="BYTES", help="Longer lines are invalid.")] = MAX_LINE_BYTES,
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
    with _progress(paths, beside_output=not count) as advance:
        for path in paths:
            search.through(path, advance)
    if count:
        typer.echo(search.selected)
    if unmatched is not None and not search.selected:
        for line in unmatched.lines():
            print_error(line)
    if search.failed:
        return Status.ERROR
    return Status.MATCHED if search.selected else Status.NOT_MATCHED


@dataclass
class _Search:
    matches: Callable[[Mapping[str, Any]], bool]
    invert: bool
    printing: bool
    longest: int
    unmatched: Unmet | None
    selected: int = 0
    failed: bool = False
    _unfinished: bool = False

    def through(self, path: Path, advance: Callable[[int], None]) -> None:
        """Search one file, and report its errors."""
        try:
            opened = open_input(path)
        except OSError as error:
            self._fail(f"{input_name(path)}: {error.strerror}")
            return
        with opened as stream:
            regular = _is_regular(stream)
            invalid = 0
            if regular and self.printing and _is_output(stream):
                self._fail(f"{path}: the file is also the output")
                return
            for number, raw, candidate, fault in self._lines(stream, input_name(path)):
                if candidate is None:
                    invalid += 1
                    if invalid <= _MAX_REPORTED_LINES:
                        self._fail(f"{input_name(path)}:{number}: {fault}")
                elif self.matches(candidate) is not self.invert:
                    self.selected += 1
                    if self.printing:
                        self._print(raw, flush=not regular)
                elif self.unmatched is not None and not self.selected:
                    self.unmatched.add(candidate)
                if regular and number % _LINES_PER_UPDATE == 0:
                    advance(stream.tell())
            if invalid > _MAX_REPORTED_LINES:
                self._fail(f"{input_name(path)}: {invalid - _MAX_REPORTED_LINES:,} more invalid lines")

    def _lines(self, stream: BinaryIO, name: str) -> Iterator[JsonLine]:
        number = 0
        try:
            for line in read_lines(decompress(stream), self.longest):
                number = line.number
                yield line
        except UnsupportedFormat as error:
            self._fail(f"{name} {error}")
        except Exception as error:
            if not (reason := damage_reason(error)):
                raise
            self._fail(f"{name}: {reason} after line {number:,}; earlier lines were read")

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


@contextmanager
def _progress(paths: list[Path], beside_output: bool) -> Generator[Callable[[int], None]]:
    """Show a progress bar on the terminal, unless the selected lines are printed there."""
    if not sys.stderr.isatty() or (beside_output and sys.stdout.isatty()) or not all(p.is_file() for p in paths):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("filter", total=sum(p.stat().st_size for p in paths))
        done, latest = 0, 0

        def advance(position: int) -> None:
            nonlocal done, latest
            if position < latest:  # the next file has started
                done += latest
            latest = position
            bar.update(task, completed=done + position)

        yield advance
