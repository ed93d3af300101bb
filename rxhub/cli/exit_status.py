"""Inputs and exit statuses, as in grep: a command ends with a status and a message on stderr, not with a traceback."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import IntEnum
from functools import wraps
from pathlib import Path
from typing import BinaryIO, ParamSpec

import typer

from rxhub.cli.output import print_error
from rxhub.errors import RxHubError, SubscriptionWarning

__all__ = ["STDIN", "Status", "exits_with_status", "input_name", "open_input"]

STDIN = Path("-")
_STDOUT = 1

P = ParamSpec("P")


class Status(IntEnum):
    """Exit statuses. The first three are grep's; the last two are 128 plus the number of the signal."""

    MATCHED = 0
    NOT_MATCHED = 1
    FAILED = 1
    """The command succeeded, and found a failure."""
    ERROR = 2
    INTERRUPTED = 130
    """SIGINT."""
    READER_GONE = 141
    """SIGPIPE."""


def open_input(path: Path) -> AbstractContextManager[BinaryIO]:
    """Open a file for reading bytes; `-` is stdin.

    Raises:
        OSError: if it cannot be read.
    """
    if path != STDIN:
        return path.open("rb")
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]  # closed by the shell: `<&-`
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), input_name(path))
    return nullcontext(sys.stdin.buffer)


def input_name(path: Path) -> str:
    """Return the name of an input for messages."""
    return "(standard input)" if path == STDIN else str(path)


def exits_with_status(run: Callable[P, Status]) -> Callable[P, None]:
    """Convert a function that returns its status to a typer command, and errors to messages and statuses."""

    @wraps(run)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]  # closed by the shell: `>&-`
                raise OSError(errno.EBADF, os.strerror(errno.EBADF), "(standard output)")
            with warnings.catch_warnings():
                warnings.showwarning = _print_warnings(warnings.showwarning)
                status = run(*args, **kwargs)
            sys.stdout.flush()
        except KeyboardInterrupt:
            status = Status.INTERRUPTED
        except BrokenPipeError:
            status = Status.READER_GONE
        except OSError as error:
            reason = error.strerror or str(error)
            print_error(f"{error.filename}: {reason}" if error.filename is not None else reason)
            status = Status.ERROR
        except RxHubError as error:
            print_error(str(error))
            status = Status.ERROR
        _flush_or_discard_stdout()
        raise typer.Exit(status)

    return command


def _print_warnings(others: Callable[..., object]) -> Callable[..., None]:
    """Return a `showwarning` that prints warnings about subscriptions without a line of code."""

    def show(message: Warning | str, category: type[Warning], *place: object, **named: object) -> None:
        if issubclass(category, SubscriptionWarning):
            print_error(str(message))
        else:
            others(message, category, *place, **named)

    return show


def _flush_or_discard_stdout() -> None:
    """Flush stdout, or discard its buffer: Python flushes again at exit, and would exit with status 120."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
