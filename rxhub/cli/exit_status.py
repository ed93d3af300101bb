"""Exit statuses, as in grep: a command ends with a status and a message on stderr, not with a traceback."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable
from enum import IntEnum
from functools import wraps
from typing import ParamSpec

import typer

from rxhub.cli.output import print_error
from rxhub.errors import RxHubError, SubscriptionWarning

__all__ = ["Status", "exits_with_status"]

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
            print_error(reason if error.filename is None else f"{error.filename}: {reason}")
            status = Status.ERROR
        except RxHubError as error:
            print_error(str(error))
            status = Status.ERROR
        try:
            if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison]
                sys.stdout.flush()
        except OSError:
            # Discard the buffer. Python flushes again at exit, and would exit with status 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
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
