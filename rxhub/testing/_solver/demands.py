"""What an expression demands of the values at one path, and values that meet it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rxhub.expression import Condition, Not
from rxhub.testing._solver.choices import Choices, First
from rxhub.testing._solver.question import ABSENT, Question, witness

__all__ = ["Conflict", "Demands"]

_FIRST = First()


class Conflict(Exception):
    """Demands contradict each other; the text says which."""


@dataclass
class Demands:
    """The demands on one path.

    Attributes:
        path: which one, as it is written.
        single: empty, or which one value an event has there: `text`, or `text or null`.
        yes: each is to be met by some value.
        no: each is to be met by no value.
        present: there is a value.
        absent: there is none.
    """

    path: str
    single: str = ""
    yes: list[Question] = field(default_factory=list[Question])
    no: list[Question] = field(default_factory=list[Question])
    present: bool = False
    absent: bool = False

    @property
    def positive(self) -> bool:
        """Whether something must be there."""
        return self.present or bool(self.yes)

    @property
    def whole(self) -> bool:
        """Whether a list is asked as a whole by one of the questions."""
        return any(question.whole for question in (*self.yes, *self.no))

    def check(self) -> None:
        """Raise Conflict if nothing can meet them, wherever the path leads through."""
        if self.absent and (self.positive or self.single):
            raise Conflict(f"something must stand at `{self.path}`, and nothing must be there")
        if self.single:
            self.one(_FIRST)
            return
        for question in self.yes:
            if all(witness([question], self.no, _FIRST, listed) is ABSENT for listed in (False, True)):
                raise Conflict(self._contradiction([question]))
        if self.present and not self.yes and witness([], self.no, _FIRST) is ABSENT:
            raise Conflict(self._contradiction([]))

    def check_mapping(self) -> None:
        """Raise Conflict if no mapping may stand there, through which a path would lead."""
        if self.absent:
            raise Conflict(f"nothing must stand at `{self.path}`, and paths lead through it")
        if self.single:
            raise Conflict(f"`{self.path}` of an event is one {self.single}, and a path leads through it")
        for question in self.no:
            # Whatever is in it: a mapping is asked for being there, and for nothing else.
            if not question.whole and question.met({}):
                raise Conflict(f"a mapping must stand at `{self.path}`, and `not {question.condition}` forbids it")

    def fits(self, value: object) -> bool:
        """Whether what stands there meets them all: a list is walked through."""
        return _fits(value, self.yes, self.no)

    def one(self, choices: Choices) -> Any:
        """One value that meets everything.

        Raises:
            Conflict: if no one value does.
        """
        value = witness(self.yes, self.no, choices)
        if self.single and type(value) is not str and not (value is None and "null" in self.single):
            value = witness([*self.yes, _ANY_TEXT], self.no, choices)
            if value is ABSENT and "null" in self.single and _fits(None, self.yes, self.no):
                return None
        if value is ABSENT:
            kind = f"one {self.single}" if self.single else "one value"
            raise Conflict(self._contradiction(self.yes) + f" ({kind} is to do it)" * bool(self.single or self.yes[1:]))
        return value

    def several(self, choices: Choices) -> list[Any]:
        """A value for each question, to stand in one list.

        Raises:
            Conflict: if there are none.
        """
        values: list[Any] = []
        for question in self.yes:
            if not any(question.met([value] if question.whole else value) for value in values):
                value = witness([question], self.no, choices, listed=True)
                if value is ABSENT:
                    raise Conflict(self._contradiction([question]))
                values.append(value)
        if not values and self.present:
            value = witness([], self.no, choices, listed=True)
            if value is ABSENT:
                raise Conflict(self._contradiction([]))
            values.append(value)
        return values

    def apart(self, choices: Choices) -> list[Any]:
        """A value, or a list of one, for each question: each to stand in a mapping of its own.

        Raises:
            Conflict: if there are none.
        """
        values: list[Any] = []
        for question in self.yes:
            value = witness([question], self.no, choices)
            if value is ABSENT:
                value = witness([question], self.no, choices, listed=True)
                if value is ABSENT:
                    raise Conflict(self._contradiction([question]))
                value = [value]
            values.append(value)
        return values

    def _contradiction(self, yes: list[Question]) -> str:
        """Which of the demands contradict each other; the fewest that do, where there are not too many."""
        needed = list(self.no)
        if len(needed) <= 20:
            for question in self.no:
                fewer = [other for other in needed if other is not question]
                if all(witness(yes, fewer, _FIRST, listed) is ABSENT for listed in (False, True)):
                    needed = fewer
        asked = _listed(question.condition for question in yes) or f"a value at `{self.path}`"
        if not needed:
            return f"at `{self.path}` nothing meets {asked}"
        return f"at `{self.path}` nothing meets {asked} and {_listed(Not(q.condition) for q in needed)}"


def _fits(value: object, yes: list[Question], no: list[Question]) -> bool:
    return all(question.met(value) for question in yes) and not any(question.met(value) for question in no)


def _listed(conditions: Iterable[object]) -> str:
    shown = [f"`{condition}`" for condition in conditions]
    return " and ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


_ANY_TEXT = Question(Condition("v", "=", "**"))
