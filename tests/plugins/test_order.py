"""Plugins are started after those that they require, otherwise as they came."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.plugins.order import cycle, ordered

NAMES = "abcdefg"
GRAPHS = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), unique=True, max_size=3))


@pytest.mark.parametrize(
    ("requires", "order"),
    [
        ({}, ""),
        ({"c": "", "a": "", "b": ""}, "cab"),
        ({"a": "b", "b": "c", "c": ""}, "cba"),
        ({"a": "c", "b": "", "c": ""}, "bca"),
        ({"a": "", "d": "bc", "c": "a", "b": "a"}, "acbd"),
        ({"a": "x", "b": "a"}, "ab"),
    ],
)
def test_requirements_come_first_and_the_rest_keeps_its_order(requires: dict[str, str], order: str) -> None:
    assert ordered(requires) == (list(order), [])


@pytest.mark.parametrize(
    ("requires", "order", "rest", "ring"),
    [
        ({"a": "a", "b": ""}, "b", "a", "a"),
        ({"a": "b", "b": "a", "c": ""}, "c", "ab", "ab"),
        ({"z": "a", "a": "b", "b": "c", "c": "a"}, "", "zabc", "abc"),
        ({"a": "xb", "b": "ya", "x": "", "y": ""}, "xy", "ab", "ab"),
    ],
)
def test_cycles_are_found(requires: dict[str, str], order: str, rest: str, ring: str) -> None:
    assert ordered(requires) == (list(order), list(rest))
    assert "".join(cycle(rest[0], {name: requires[name] for name in rest})) == ring


def test_a_chain_may_be_long() -> None:
    chain = {str(number): [str(number + 1)] for number in range(20_000)}
    assert ordered(chain) == ([str(number) for number in reversed(range(20_000))], [])


@given(GRAPHS)
def test_as_the_standard_library_sorts(requires: dict[str, list[str]]) -> None:
    order, rest = ordered(requires)
    inside = {name: [required for required in needed if required in requires] for name, needed in requires.items()}
    assert sorted(order + rest) == sorted(requires)
    for name in order:
        assert all(order.index(required) < order.index(name) for required in inside[name])
    try:
        TopologicalSorter(inside).prepare()
        assert not rest
    except CycleError:
        assert rest
    for name in rest:
        ring = cycle(name, {name: requires[name] for name in rest})
        for one, following in zip(ring, [*ring[1:], ring[0]], strict=True):
            assert following in requires[one]
