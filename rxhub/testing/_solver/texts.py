"""A text that meets demands: what it starts and ends with, contains, equals, comes before or after, and must not.

Theory of operation. Such demands are a finite automaton. Reading a text from its beginning, all that matters is: the
beginning itself, as long as some demanded beginning, equal or bound goes on from it (after that, each of those has its
answer for good); the longest end of it with which some demanded part or ending begins, as in Aho-Corasick's
automaton; and which of the demanded parts were met. Characters that stand in no demand differ only by where they lie
between those that do. So a breadth-first search over these states finds the shortest text there is, or proves that
there is none.

Mostly a guess will do: the beginning, then the parts, then the ending, with filler between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rxhub.testing._solver.choices import Choices
from rxhub.testing._solver.verdicts import Undecided

__all__ = ["TextTest", "find_text", "shortest_text"]

_State = tuple[str | None, str, int]
"""The beginning, the end, and a bit for each part that was met."""

_Steps = dict[_State, tuple[_State, str] | None]

_MOST_STATES = 50_000
_SURROGATES = range(0xD800, 0xE000)
_PLEASANT = "an05Z_é !~"
_AT_THE_BEGINNING = frozenset({"equals", "starts", "<", "<=", ">", ">="})


class TextTest(NamedTuple):
    """One demand.

    Attributes:
        kind: `equals`, `starts`, `ends`, `contains`, or one of `< <= > >=`, by code points.
        text: with what.
        wanted: whether it is to hold or not.
    """

    kind: str
    text: str
    wanted: bool = True

    def met(self, value: str) -> bool:
        """Whether a text meets it."""
        kind, text = self.kind, self.text
        match kind:
            case "equals":
                holds = value == text
            case "starts":
                holds = value.startswith(text)
            case "ends":
                holds = value.endswith(text)
            case "contains":
                holds = text in value
            case "<":
                holds = value < text
            case "<=":
                holds = value <= text
            case ">":
                holds = value > text
            case _:
                holds = value >= text
        return holds is self.wanted


def find_text(tests: Sequence[TextTest], choices: Choices) -> str | None:
    """A text that meets all tests, or None if there is none.

    Raises:
        Undecided: if finding out would take too long.
    """
    wanted = [test for test in tests if test.wanted]
    for test in wanted:
        if test.kind == "equals":
            return test.text if _all_met(tests, test.text) else None
    guess = _guess(wanted, choices)
    return guess if _all_met(tests, guess) else shortest_text(tests)


def _guess(wanted: Sequence[TextTest], choices: Choices) -> str:
    head = max((test.text for test in wanted if test.kind == "starts"), key=len, default="")
    head = head or max((test.text for test in wanted if test.kind in {">", ">="}), default="")
    end = max((test.text for test in wanted if test.kind == "ends"), key=len, default="")
    parts = [test.text for test in wanted if test.kind == "contains" and test.text not in head and test.text not in end]
    text = head + choices.filler()
    for part in parts:
        if part not in text:
            text += part + choices.filler()
    # The end may be there already: `a*` and `*a` are met by "a".
    return text if text.endswith(end) else text + end


def shortest_text(tests: Sequence[TextTest]) -> str | None:
    """The shortest text that meets all tests, or None if there is none.

    Raises:
        Undecided: if there are too many states to look at.
    """
    heads = [test for test in tests if test.kind in _AT_THE_BEGINNING]
    ends = [test for test in tests if test.kind == "ends"]
    parts = list(dict.fromkeys(test.text for test in tests if test.kind == "contains" and test.wanted and test.text))
    never = [test.text for test in tests if test.kind == "contains" and not test.wanted]
    if "" in never:
        return None
    beginnings = {test.text[:size] for test in heads for size in range(len(test.text) + 1)}
    patterns = {text[:size] for text in ["", *parts, *never, *(e.text for e in ends)] for size in range(len(text) + 1)}
    alphabet = _alphabet((test.text for test in tests), ordered=any(test.kind[0] in "<>" for test in heads))
    everything = (1 << len(parts)) - 1

    start: _State = ("" if heads else None, "", 0)
    came_from: _Steps = {start: None}
    waiting: deque[_State] = deque([start])
    while waiting:
        state = waiting.popleft()
        head, end, met = state
        if met == everything and (head is None or _all_met(heads, head)) and _all_met(ends, end):
            return _spelled(state, came_from)
        for character in alphabet:
            going_on = None
            if head is not None:
                beginning = head + character
                if beginning in beginnings:
                    going_on = beginning
                elif not _all_met(heads, beginning):
                    continue
            ending = end + character
            while ending not in patterns:
                ending = ending[1:]
            if any(map(ending.endswith, never)):
                continue
            found = met
            for number, part in enumerate(parts):
                if ending.endswith(part):
                    found |= 1 << number
            following: _State = (going_on, ending, found)
            if following not in came_from:
                came_from[following] = state, character
                waiting.append(following)
        if len(came_from) > _MOST_STATES:
            raise Undecided(f"Whether one text meets {len(tests)} conditions would take too long to find out.")
    return None


def _all_met(tests: Iterable[TextTest], value: str) -> bool:
    for test in tests:
        if not test.met(value):
            return False
    return True


def _spelled(state: _State, came_from: _Steps) -> str:
    characters: list[str] = []
    while (step := came_from[state]) is not None:
        state, character = step
        characters.append(character)
    return "".join(reversed(characters))


def _alphabet(texts: Iterable[str], ordered: bool) -> list[str]:
    """Every character of the texts, and one for those that stand in none: one in each gap, if order matters."""
    known = sorted({ord(character) for text in texts for character in text})
    if not ordered:
        fresh = next(c for c in map(chr, range(ord("a"), 0x110000)) if ord(c) not in known)
        return [fresh, *map(chr, known)]
    alphabet: list[str] = []
    below = -1
    for code in [*known, 0x110000]:
        if (between := _between(below + 1, code)) is not None:
            alphabet.append(between)
        if code < 0x110000:
            alphabet.append(chr(code))
        below = code
    return alphabet


def _between(low: int, end: int) -> str | None:
    for character in _PLEASANT:
        if low <= ord(character) < end:
            return character
    for code in (end - 1, low):
        if low <= code < end and code not in _SURROGATES:
            return chr(code)
    # Both ends are surrogates, which no text on the wire can hold.
    return None
