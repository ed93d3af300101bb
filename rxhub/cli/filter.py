"""`rxhub filter`: grep for events."""

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

from rxhub.cli.compressed import Unreadable, decompressed, why_damaged
from rxhub.cli.exit_status import STDIN, Status, complain, ending, name_of, open_input
from rxhub.cli.jsonl import LONGEST, Line, lines
from rxhub.expression import Dialect, compile, parse
from rxhub.expression.unmet import Unmet
from rxhub.text.printable import printable_json

__all__ = ["command"]

_LINES_BETWEEN_UPDATES = 500
_MOST_REPORTED = 10


@ending
def command(
    subscription: Annotated[
        str, typer.Argument(metavar="SUBSCRIPTION", show_default=False, help="What to look for: 'topic=ftrack.*'")
    ],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", show_default=False, help="Events, one JSON object a line; - is stdin."),
    ] = None,
    count: Annotated[bool, typer.Option("--count", "-c", help="Print only how many lines were picked.")] = False,
    invert: Annotated[bool, typer.Option("--invert", "-v", help="Pick the events that do not match.")] = False,
    dialect: Annotated[
        Dialect, typer.Option(metavar="rxhub|ftrack", help="What a * means. ftrack: as in ftrack's client.")
    ] = Dialect.RXHUB,
    max_line: Annotated[int, typer.Option(min=1, metavar="BYTES", help="A longer line is broken.")] = LONGEST,
) -> Status:
    """Print the events that match a subscription, each line unchanged. Files may be compressed with gzip or Zstandard.

    Exit status: 0 if a line was picked, 1 if none was, 2 after an error. Invalid lines are errors. They are skipped,
    and the first ten of each file are reported on stderr. If nothing matched, a terminal shows which key or value no
    event had.
    """
    tree = parse(subscription, dialect)
    unmatched = Unmet(tree) if sys.stderr.isatty() and not invert else None
    search = _Search(compile(tree), invert, not count, max_line, unmatched)
    paths = files or [STDIN]
    with _progress(paths, beside_output=not count) as advance:
        for path in paths:
            search.through(path, advance)
    if count:
        typer.echo(search.picked)
    if unmatched is not None and not search.picked:
        for line in unmatched.lines():
            complain(line)
    if search.failed:
        return Status.ERROR
    return Status.MATCHED if search.picked else Status.NOT_MATCHED


@dataclass
class _Search:
    matches: Callable[[Mapping[str, Any]], bool]
    invert: bool
    printing: bool
    longest: int
    unmatched: Unmet | None
    picked: int = 0
    failed: bool = False
    _unfinished: bool = False

    def through(self, path: Path, advance: Callable[[int], None]) -> None:
        """Search one file; what is wrong with it is told and remembered."""
        try:
            opened = open_input(path)
        except OSError as error:
            self._fail(f"{name_of(path)}: {error.strerror}")
            return
        with opened as stream:
            regular = _is_regular(stream)
            invalid = 0
            if regular and self.printing and _is_output(stream):
                self._fail(f"{path}: the output goes into this file")
                return
            for number, raw, candidate, fault in self._lines(stream, name_of(path)):
                if candidate is None:
                    invalid += 1
                    if invalid <= _MOST_REPORTED:
                        self._fail(f"{name_of(path)}:{number}: {fault}")
                elif self.matches(candidate) is not self.invert:
                    self.picked += 1
                    if self.printing:
                        self._print(raw, at_once=not regular)
                elif self.unmatched is not None and not self.picked:
                    self.unmatched.add(candidate)
                if regular and number % _LINES_BETWEEN_UPDATES == 0:
                    advance(stream.tell())
            if invalid > _MOST_REPORTED:
                self._fail(f"{name_of(path)}: {invalid - _MOST_REPORTED:,} more invalid lines")

    def _lines(self, stream: BinaryIO, name: str) -> Iterator[Line]:
        number = 0
        try:
            for line in lines(decompressed(stream), self.longest):
                number = line.number
                yield line
        except Unreadable as error:
            self._fail(f"{name} {error}")
        except Exception as error:
            if not (why := why_damaged(error)):
                raise
            self._fail(f"{name}: {why} after line {number:,}; the lines before that were read")

    def _print(self, raw: bytes, at_once: bool) -> None:
        output = sys.stdout.buffer
        if sys.stdout.isatty():
            raw = printable_json(raw.decode()).encode()
        # The last line of a file may lack its line break; the next file's line must not be glued to it.
        output.write(b"\n" + raw if self._unfinished else raw)
        self._unfinished = not raw.endswith(b"\n")
        if at_once:  # somebody follows a growing log through a pipe
            output.flush()

    def _fail(self, message: str) -> None:
        self.failed = True
        complain(message)


def _is_regular(stream: BinaryIO) -> bool:
    """Whether it is a file with an end, and no pipe, terminal or buffer."""
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _is_output(stream: BinaryIO) -> bool:
    """Whether what is printed would be read again, without end."""
    try:
        return os.path.sameopenfile(stream.fileno(), sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is no file
        return False


@contextmanager
def _progress(paths: list[Path], beside_output: bool) -> Generator[Callable[[int], None]]:
    """A bar on the terminal while files are read, unless the picked lines themselves appear there."""
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
            if position < latest:  # the next file has begun
                done += latest
            latest = position
            bar.update(task, completed=done + position)

        yield advance
