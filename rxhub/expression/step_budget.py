"""What matching costs, counted in steps while it is done, so that a server can bound it.

A step is about a tenth of a microsecond on a machine of 2024. Nothing is counted unless a `Work` is entered, and what
is counted belongs to the thread (more exactly, the context) that entered it. Counted are the things whose number
depends on what strangers send: values visited, conditions tested, buckets of the index that are reached, characters
compared. `TooMuchWork` is no `Exception`: matching catches exceptions of values, and this one has to pass.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Final, Self

__all__ = ["TooMuchWork", "Work", "present"]

VALUE: Final = 4
"""Steps for each value that a list holds, and for each mapping that is entered while conditions are interpreted."""

INTERPRETED: Final = 12
"""Steps for asking a condition itself instead of its compiled form."""

_COMPILING: Final = 100_000


class TooMuchWork(BaseException):
    """The limit of the `Work` that was entered is exceeded."""


class Work:
    """Counts steps between `with` and its end.

    Args:
        limit: how many there may be.

    Attributes:
        steps: how many there were so far.
    """

    __slots__ = ("_compiling", "_limit", "_token", "steps")

    def __init__(self, limit: float) -> None:
        self.steps = 0
        self._limit = limit
        self._compiling = 0
        self._token: Token[Work | None] | None = None

    def __enter__(self) -> Self:
        self._token = _present.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _present.reset(self._token)

    def spend(self, steps: int) -> None:
        """Count steps that are about to be done.

        Raises:
            TooMuchWork: if there are more than the limit then; they are not counted, and must not be done.
        """
        if self.steps + steps > self._limit:
            raise TooMuchWork
        self.steps += steps

    def spend_compiling(self, steps: int) -> None:
        """Count steps of compiling, which never exceed the limit: what is left is interpreted (`may_compile`)."""
        self.steps += steps
        self._compiling += steps

    def spend_once(self, steps: int) -> None:
        """Count steps of what is kept for whoever comes next: it is done, whatever the limit."""
        self.steps += steps

    @property
    def may_compile(self) -> bool:
        """Whether to go on compiling what was compiled never before."""
        return self._compiling < _COMPILING and self.steps < self._limit / 2


_present: ContextVar[Work | None] = ContextVar("rxhub_work", default=None)

present = _present.get
"""The `Work` that counts what is done now; None if nobody counts."""
