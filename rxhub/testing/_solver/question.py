"""What one condition asks the values at its path, and a value that answers several of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, cast

from rxhub.expression import Condition, Dialect
from rxhub.expression.comparisons import parse_number
from rxhub.testing._solver.choices import Choices
from rxhub.testing._solver.intervals import NumberTest, find_number
from rxhub.testing._solver.texts import TextTest, find_text

__all__ = ["ABSENT", "Question", "witness"]

ABSENT: Any = object()
"""No value at all."""

_KINDS = ("text", "number", "bool", "null", "mapping")


class Question:
    """A condition's comparison, without its path.

    Args:
        condition: which one. Of `!=`, the question is whether a value equals the literal.

    Attributes:
        whole: whether a list is asked as a whole: the containment of ftrack's dialect.
    """

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self._opposite = condition.operator == "!="
        text, wild = condition.value, condition.operator == "="
        self.whole = wild and condition.dialect is Dialect.FTRACK and text.endswith("*")
        self._wildcard = wild and condition.dialect is Dialect.RXHUB and "*" in {text[:1], text[-1:]}
        self._number = None if condition.quoted or self._wildcard or self.whole else parse_number(text)

    @cached_property
    def _probe(self) -> Condition:
        asked = self.condition
        return Condition("v", asked.operator, asked.value, asked.quoted, asked.dialect)

    def met(self, value: object) -> bool:
        """Whether a value meets it, by the language's own reading."""
        return self._probe.matches({"v": value}) is not self._opposite

    @property
    def part(self) -> str:
        """What ftrack's containment looks for."""
        return self.condition.value[:-1]

    @property
    def anything(self) -> bool:
        """Whether whatever is there and not null meets it."""
        return self._wildcard and self.condition.value == "*"

    @property
    def natural(self) -> str:
        """The kind of value that somebody who writes this has in mind."""
        if self._number is not None:
            return "number"
        if not self.condition.quoted and not self._wildcard and not self.whole:
            return {"true": "bool", "false": "bool", "null": "null"}.get(self.condition.value, "text")
        return "text"

    def of_texts(self, wanted: bool, listed: bool) -> TextTest | bool:
        """What it demands of a text; True if any will do, False if none will."""
        operator, text = self.condition.operator, self.condition.value
        if self.whole:
            return TextTest("equals" if listed else "contains", self.part, wanted)
        if not self._wildcard:
            return TextTest("equals" if operator in {"=", "!="} else operator, text, wanted)
        if text in {"*", "**"}:
            return wanted
        if text[-1] != "*":
            return TextTest("ends", text[1:], wanted)
        if text[0] != "*":
            return TextTest("starts", text[:-1], wanted)
        return TextTest("contains", text[1:-1], wanted)

    def of_numbers(self, wanted: bool) -> NumberTest | bool:
        """The same of a number."""
        if self._number is None:
            return self.anything is wanted
        operator = self.condition.operator
        return NumberTest("=" if operator == "!=" else operator, self._number, wanted)


def witness(yes: Sequence[Question], no: Sequence[Question], choices: Choices, listed: bool = False) -> Any:
    """One value that meets all of `yes` and none of `no`, or ABSENT if there is none.

    Args:
        yes: what is to hold.
        no: what is not to hold.
        choices: who decides between values.
        listed: whether the value is to stand in a list.

    Raises:
        Undecided: if finding out would take too long.
    """
    likely = [question.natural for question in yes] or ["text"]
    kinds = sorted(_KINDS, key=lambda kind: (-likely.count(kind), _KINDS.index(kind)))
    # A value of another kind that is right too: "10" where one thinks of 10.
    if choices.among((False, False, False, True)):
        kinds = kinds[1:] + kinds[:1]
    for kind in kinds:
        value = _of_kind(kind, yes, no, choices, listed)
        if value is not ABSENT:
            return value
    return ABSENT


def _of_kind(kind: str, yes: Sequence[Question], no: Sequence[Question], choices: Choices, listed: bool) -> Any:
    if kind == "text":
        tests = [q.of_texts(True, listed) for q in yes] + [q.of_texts(False, listed) for q in no]
        if False in tests:
            return ABSENT
        found = find_text([test for test in tests if isinstance(test, TextTest)], choices)
        return ABSENT if found is None else found
    if kind == "number":
        if listed and any(question.whole for question in yes):
            return ABSENT
        demands = [q.of_numbers(True) for q in yes] + [q.of_numbers(False) for q in no]
        if False in demands:
            return ABSENT
        number = find_number([test for test in demands if isinstance(test, NumberTest)], choices)
        return ABSENT if number is None else number
    for value in _simple(kind, yes, listed):
        if _meets(value, yes, no, listed):
            return value
    return ABSENT


def _simple(kind: str, yes: Sequence[Question], listed: bool) -> Iterable[Any]:
    if kind == "null":
        return (None,)
    if kind == "bool":
        return (True, False)
    # A mapping is a value as well: present, not null, and ftrack's containment asks its keys. An empty list under a
    # key is no value for anybody else.
    return ({question.part: cast("list[Any]", []) for question in yes if question.whole and not listed},)


def _meets(value: Any, yes: Sequence[Question], no: Sequence[Question], listed: bool) -> bool:
    seen = [value] if listed else value

    def met(question: Question) -> bool:
        return question.met(seen if question.whole else value)

    return all(map(met, yes)) and not any(map(met, no))
