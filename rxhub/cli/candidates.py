"""Read candidates from files and stdin. Errors are reported on stderr, and reading continues."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from rxhub.cli.inputs import input_name, open_input
from rxhub.cli.output import print_error, progress_bar
from rxhub.exploration.compression import UnreadableInput, decompressed
from rxhub.exploration.jsonl import MAX_LINE_BYTES, read_json, read_lines

__all__ = ["Candidate", "CandidateReader"]

_LINES_PER_UPDATE = 500
_MAX_REPORTED_LINES = 10


class Candidate(NamedTuple):
    """A line that contains a candidate, and whether it comes from a regular file."""

    raw: bytes
    fields: Mapping[str, Any]
    is_regular: bool


class CandidateReader:
    """Reads files one after another.

    Args:
        max_line: longer lines are invalid.
        prints_lines: whether the command prints the lines that it reads: the files must not be its output, arrays are
            not supported, and there is no progress bar on the terminal that shows the lines.

    Attributes:
        failed: whether an error was reported.
    """

    def __init__(self, max_line: int = MAX_LINE_BYTES, prints_lines: bool = False) -> None:
        self.failed = False
        self._max_line = max_line
        self._prints_lines = prints_lines

    def read(self, paths: Sequence[Path], title: str) -> Iterator[Candidate]:
        """Yield the candidates of all files, and show the progress."""
        is_shown = (
            sys.stderr.isatty()
            and not (self._prints_lines and sys.stdout.isatty())
            and all(path.is_file() for path in paths)
        )
        with progress_bar(is_shown, in_bytes=True) as bar:
            task = bar.add_task(title, total=sum(path.stat().st_size for path in paths) if is_shown else None)
            for path in paths:
                yield from self._read(path, lambda count: bar.advance(task, count))

    def _read(self, path: Path, advance: Callable[[float], object]) -> Iterator[Candidate]:
        name = input_name(path)
        try:
            opened = open_input(path)
        except OSError as error:
            self._fail(f"{name}: {error.strerror}")
            return
        number = invalid = position = 0
        with opened as stream:
            regular = _is_regular(stream)
            if regular and self._prints_lines and _is_output(stream):
                self._fail(f"{path}: the file is also the output")
                return
            try:
                with decompressed(stream, name) as plain:
                    lines = read_lines(plain, self._max_line) if self._prints_lines else read_json(plain, name)
                    for number, raw, candidate, fault in lines:
                        if candidate is not None:
                            yield Candidate(raw, candidate, regular)
                        else:
                            invalid += 1
                            if invalid <= _MAX_REPORTED_LINES:
                                self._fail(f"{name}:{number}: {fault}")
                        if regular and number % _LINES_PER_UPDATE == 0:
                            advance(stream.tell() - position)
                            position = stream.tell()
            except UnreadableInput as error:
                self._fail(f"{error} after line {number:,}; earlier lines were read" if number else str(error))
        if invalid > _MAX_REPORTED_LINES:
            self._fail(f"{name}: {invalid - _MAX_REPORTED_LINES:,} more invalid lines")

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
