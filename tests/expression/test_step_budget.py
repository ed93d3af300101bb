"""The steps of matching are counted while they are done: at least one for each value visited, up to the limit."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.expression import Index, compile, parse
from rxhub.expression import index_tree as node
from rxhub.expression.residual import weight
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded, current_budget


class Counted(str):
    """A text that notes each comparison."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return str.__eq__(self, other)

    def __lt__(self, other: str) -> bool:
        Counted.comparisons += 1
        return str.__lt__(self, other)

    __hash__ = str.__hash__


values = st.recursive(
    st.sampled_from("ab").map(Counted),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    max_leaves=40,
)
conditions = st.builds(
    "{}{}{}".format,
    st.sampled_from(["x", "y", "x.x", "x.y", "y.x.y"]),
    st.sampled_from(["=", "!=", "<"]),
    st.sampled_from("abc"),
)
expressions = st.recursive(
    conditions,
    lambda inner: (
        st.builds("({} and {})".format, inner, inner)
        | st.builds("({} or {})".format, inner, inner)
        | st.builds("not {}".format, inner)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from("xy"), values, max_size=2), st.lists(expressions, min_size=1, max_size=8))
def test_what_is_counted_bounds_what_is_compared(candidate: dict[str, Any], texts: list[str]) -> None:
    trees = [parse(text) for text in texts]
    index: Index[int] = Index()
    for number, tree in enumerate(trees):
        index.add(tree, number)
    tests = [compile(tree) for tree in trees]
    ways = {
        "tree": lambda: [number for number, tree in enumerate(trees) if tree.matches(candidate)],
        # What asks for the weight of a compiled test counts that first.
        "compiled": lambda: [
            number for number, test in enumerate(tests) if spent(weight(trees[number])) and test(candidate)
        ],
        "index": lambda: list(index.match(candidate)),
    }
    found = []
    for way in ways.values():
        Counted.comparisons = 0
        with StepBudget(float("inf")) as work:
            found.append(way())
        # A range compares once more to see whether it is included.
        assert Counted.comparisons <= 2 * work.steps
    assert found[0] == found[1] == found[2]


def spent(steps: int) -> bool:
    work = current_budget()
    assert work is not None
    work.spend(steps)
    return True


@given(st.lists(st.integers(0, 3), max_size=200), st.integers(1, 20))
def test_each_value_of_a_list_is_counted_for_each_condition_that_walks_it(numbers: list[int], count: int) -> None:
    tree = parse(" and ".join(f"a!=x{number}" for number in range(count)) if count > 1 else "a!=x")
    with StepBudget(float("inf")) as work:
        matched = tree.matches({"a": numbers})
    assert matched == bool(numbers)
    assert work.steps >= len(numbers) * (count if numbers else 1)


@pytest.mark.parametrize("text", ["a!=x", "not a=x", "not (a!=x or b=1)", "a=1 or a!=x"])
def test_the_limit_ends_matching_whatever_the_expression_would_make_of_an_error(text: str) -> None:
    candidate = {"a": [0] * 1_000, "topic": "t"}
    tree, test = parse(text), compile(text)
    index: Index[int] = Index()
    for number in range(40):
        index.add(parse(f"topic=t and ({text}) and not c={number}"), number)
    for way in (tree.matches, test, index.match):
        with pytest.raises(StepBudgetExceeded), StepBudget(1_000) as work:
            way(candidate)
        assert 0 < work.steps < 100_000
        assert current_budget() is None
    assert len(index.match(candidate)) == 40 * tree.matches(candidate)


def test_nobody_else_is_counted() -> None:
    tree = parse("a!=x")
    with StepBudget(10) as work:
        thread = threading.Thread(target=tree.matches, args=({"a": [0] * 1_000},))
        thread.start()
        thread.join()
    assert work.steps == 0
    assert tree.matches({"a": [0] * 1_000})


def test_a_search_counts_the_characters_of_long_texts() -> None:
    test = compile("a=*" + "x" * 50 + "y*")
    steps = []
    for length in (100, 1_000, 10_000):
        with StepBudget(float("inf")) as work:
            assert not test({"a": "x" * length})
        steps.append(work.steps)
    assert steps[0] == 0 < steps[1] * 5 < steps[2]


def test_what_was_not_compiled_yet_is_interpreted_with_the_same_result() -> None:
    def text(number: int) -> str:
        # Each is of a shape of its own.
        return " and ".join(f"{'not ' if number >> bit & 1 else ''}a{bit}=1" for bit in range(8))

    texts = [f"topic=t and ({text(number)})" for number in range(256)]
    index: Index[int] = Index()
    for number, each in enumerate(texts):
        index.add(each, number)
    candidate = {"topic": "t"}
    expected = [number for number, each in enumerate(texts) if parse(each).matches(candidate)]
    for _ in range(5):
        with StepBudget(10**6):
            assert list(index.match(candidate)) == expected
    assert list(index.match(candidate)) == expected


@given(
    st.lists(st.tuples(st.sampled_from(["topic=t and ", ""]), st.integers(0, 40), st.booleans()), max_size=150),
    st.lists(st.integers(0, 149), max_size=100),
)
def test_a_pile_finds_what_a_list_finds(added: list[tuple[str, int, bool]], removed: list[int]) -> None:
    before = node._MANY_PLACES
    node._MANY_PLACES = 32
    try:
        index: Index[int] = Index()
        texts = [f"{topic}{'not ' if negated else ''}x!={number}" for topic, number, negated in added]
        tokens = {number: index.add(text, number) for number, text in enumerate(texts)}
        for number in removed:
            if number in tokens:
                index.remove(tokens.pop(number))
        for candidate in ({"topic": "t", "x": 5}, {"topic": "u", "x": "7"}, {"x": [1, 2]}, {}):
            expected = [number for number in tokens if parse(texts[number]).matches(candidate)]
            assert list(index.match(candidate)) == expected
        for token in tokens.values():
            index.remove(token)
        assert len(index) == 0 == len(index.match({"topic": "t", "x": 5}))
        assert len(index._root.residuals) == 0
    finally:
        node._MANY_PLACES = before
