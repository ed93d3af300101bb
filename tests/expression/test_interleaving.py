"""Between any two lines of a change or of a match something else may run: each pair of lines is tried.

Threads meet such moments by chance alone. Here `sys.settrace` calls the intruder before a line of the index's code,
in the same thread, where it may do what another thread, a finaliser or a signal handler would do. Where the lines are
hundreds, as in a split, a hundred of them are tried.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from rxhub import expression
from rxhub.concurrency import ordered_calls
from rxhub.expression import Expression, parse
from rxhub.expression.index import Index
from rxhub.expression.index_tree import Token

_FILES = {ordered_calls.__file__} | {
    str(Path(expression.__file__).with_name(f"{name}.py"))
    for name in ("index", "index_tree", "field_index", "sorted_index", "residual")
}
for _file in _FILES:
    assert Path(_file).is_file(), _file


def run(call: Callable[[], object], intrude: Callable[[int], None]) -> object:
    """Run a call, and the intruder before each of its lines, which are counted from 0."""
    line = -1

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal line
        if frame.f_code.co_filename not in _FILES:
            return None
        if event == "line":
            line += 1
            intrude(line)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return call()
    finally:
        sys.settrace(before)


_parsed = cache(parse)


class Population:
    """An index, and beside it what is in it."""

    def __init__(self, texts: list[str]) -> None:
        self.index: Index[int] = Index()
        self.added: dict[int, tuple[Expression, Token]] = {}
        self.count = 0
        for text in texts:
            self.add(text)

    def add(self, text: str) -> int:
        number = self.count
        self.count += 1
        tree = _parsed(text)
        self.added[number] = (tree, self.index.add(tree, number))
        return number

    def remove(self, number: int) -> None:
        self.index.remove(self.added.pop(number)[1])

    def expected(self, candidate: object) -> list[int]:
        return [number for number, (tree, _) in sorted(self.added.items()) if tree.matches(candidate)]


TEXTS = [
    "topic=t and a=1",
    "topic=t and a!=9",
    "topic=t and a=1",
    "topic=t",
    "topic=t* and b >= 5",
    "b >= 5",
    "b >= 6 and a=1",
    "a=1 or b=7",
    "",
]
SPLITTING = [f"topic=t and a!=9 and c=c{number}" for number in range(30)]
CANDIDATES: list[dict[str, object]] = [
    {"topic": "t", "a": 1, "b": 7, "c": "c3"},
    {"topic": ["t", "x"], "a": "1", "b": 5, "c": ["c3", "c30", "c31"]},
    {"topic": "x", "b": 8},
]
CHANGES: list[tuple[str, Callable[[Population], object]]] = [
    ("add to a bucket", lambda population: population.add("topic=t and a=1")),
    ("add a bucket", lambda population: population.add("topic=x")),
    ("add a field", lambda population: population.add("d=1 or e < 5")),
    ("add a bound", lambda population: population.add("b >= 5.5")),
    ("add an operator", lambda population: population.add("b < 9")),
    ("add a number", lambda population: population.add("a=1.0")),
    ("add a prefix", lambda population: population.add("topic=tt* or topic=x*")),
    ("remove from a bucket", lambda population: population.remove(0)),
    ("remove the last of its residual", lambda population: population.remove(1)),
    ("remove a prefix", lambda population: population.remove(4)),
    ("remove a bound", lambda population: population.remove(5)),
    ("remove from two places", lambda population: population.remove(7)),
    ("remove from the rest", lambda population: population.remove(8)),
    ("add what splits", lambda population: population.add("topic=t and a!=8 and c=c31")),
    ("add to what was split", lambda population: population.add("topic=t and a=1 and c in (c3, c30)")),
    ("remove from what was split", lambda population: population.remove(9 + 3)),
]
changes = pytest.mark.parametrize("change", [change for _, change in CHANGES], ids=[name for name, _ in CHANGES])


def population_for(change: Callable[[Population], object]) -> Population:
    name = next(name for name, known in CHANGES if known is change)
    # A topic's bucket splits at its 32nd place; four of the others stand in it.
    if name == "add what splits":
        return Population([*TEXTS, *SPLITTING[:27]])
    return Population([*TEXTS, *SPLITTING] if "split" in name else TEXTS)


@changes
@pytest.mark.parametrize("reads_before", [True, False], ids=["warm", "cold"])
def test_a_reader_in_the_middle_of_a_change_finds_what_stays(
    change: Callable[[Population], object], reads_before: bool
) -> None:
    at, lines = 0, 1
    while at < lines:
        population = population_for(change)
        before = [population.expected(candidate) for candidate in CANDIDATES]
        if reads_before:
            assert [list(population.index.match(candidate)) for candidate in CANDIDATES] == before
        lines = 0
        found: list[list[int]] = []

        def intrude(line: int, population: Population = population, at: int = at) -> None:
            nonlocal lines, found
            lines = line + 1
            if line == at:
                found = [list(population.index.match(candidate)) for candidate in CANDIDATES]

        run(lambda population=population: change(population), intrude)
        after = [population.expected(candidate) for candidate in CANDIDATES]
        for one, old, new in zip(found, before, after, strict=True):
            assert one in (old, new), f"before line {at}"
        assert [list(population.index.match(candidate)) for candidate in CANDIDATES] == after, f"before line {at}"
        at += 1 + lines // 100
    assert lines > 10


@changes
@pytest.mark.parametrize("candidate", CANDIDATES)
def test_a_change_in_the_middle_of_a_match_is_not_forgotten(
    change: Callable[[Population], object], candidate: dict[str, object]
) -> None:
    at, lines = 0, 1
    while at < lines:
        population = population_for(change)
        before = population.expected(candidate)
        lines = 0

        def intrude(line: int, population: Population = population, at: int = at) -> None:
            nonlocal lines
            lines = line + 1
            if line == at:
                change(population)

        found = run(lambda population=population: list(population.index.match(candidate)), intrude)
        after = population.expected(candidate)
        assert set(before) & set(after) <= set(found) <= set(before) | set(after), f"before line {at}"
        assert found == sorted(set(found)), f"before line {at}"
        assert list(population.index.match(candidate)) == after, f"before line {at}"
        at += 1 + lines // 100
    assert lines > 5


@changes
def test_a_change_in_the_middle_of_another_waits_for_it(change: Callable[[Population], object]) -> None:
    at, lines = 0, 1
    while at < lines:
        population = population_for(change)
        lines = 0

        def intrude(line: int, population: Population = population, at: int = at) -> None:
            nonlocal lines
            lines = line + 1
            if line == at:
                population.remove(2)
                population.add("topic=t and a=1 and c=c3")
                population.add("b >= 5")

        run(lambda population=population: change(population), intrude)
        for candidate in CANDIDATES:
            # Which of the two was added first is for the index to say.
            assert sorted(population.index.match(candidate)) == population.expected(candidate), f"before line {at}"
        for number in list(population.added):
            population.remove(number)
        assert len(population.index) == 0
        assert population.index._root.is_empty
        at += 1 + lines // 100
    assert lines > 10
