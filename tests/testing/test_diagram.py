"""Marble diagrams in the notation of RxJS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.testing.diagram import Moment, SubscriptionSpan, diagram_of, parse_diagram, parse_span

DIAGRAMS = {
    "": ([], 0.0),
    "---": ([], 3.0),
    "-a-|": ([(1, "a"), (3, "|")], 4.0),
    "(ab)-c": ([(0, "a"), (0, "b"), (5, "c")], 6.0),
    "a 9ms b": ([(0, "a"), (1.009, "b")], 2.009),
    "a 1h b|": ([(0, "a"), (3601, "b"), (3602, "|")], 3603.0),
    "2m (a|)": ([(120, "a"), (120, "|")], 124.0),
    "- a -": ([(1, "a")], 3.0),
    "3s": ([], 3.0),
    "-3s": ([(1, "3"), (2, "s")], 3.0),
}


@pytest.mark.parametrize(("text", "expected"), DIAGRAMS.items())
def test_a_diagram_is_read(text: str, expected: tuple[list[Moment], float]) -> None:
    assert parse_diagram(text, 1.0) == expected


HOT = {
    "--a^-b#": ([(-1, "a"), (2, "b"), (3, "#")], 4.0),
    "^-b": ([(2, "b")], 3.0),
    "1s ^ 1s b": ([(2, "b")], 3.0),
}


@pytest.mark.parametrize(("text", "expected"), HOT.items())
def test_a_hot_diagram_has_a_moment_0(text: str, expected: tuple[list[Moment], float]) -> None:
    assert parse_diagram(text, 1.0, hot=True) == expected


WRONG = {
    "(a": "lacks `)`",
    "a)": "')' is not allowed here",
    "((a))": "'(' is not allowed here",
    "(a-b)": "a group cannot contain time",
    "(a 5s b)": "a group cannot contain time",
    "^a^b|^": "one `^`",
    "^-^-a": "one `^`",
    "-^-^a": "one `^`",
    "(^a)": "one `^`",
    "a|b": "follow the end",
    "a!": "'!' is not allowed here",
    "a 5x b": "'5x' is not a valid time. Units are ms, s, m and h",
    "5min": "'5min' is not a valid time",
    "a 1.2.3s b": "'1.2.3s' is not a valid time",
}


@pytest.mark.parametrize(("text", "why"), WRONG.items())
def test_what_is_no_diagram_is_refused_with_its_place(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="Invalid marble diagram") as raised:
        parse_diagram(text, 1.0, hot=True)
    assert why in str(raised.value)
    assert str(raised.value).rstrip().endswith("^")


@pytest.mark.parametrize("text", ["^-a", "-^-a", "a^"])
def test_what_is_not_hot_has_no_moment_0_of_its_own(text: str) -> None:
    with pytest.raises(ValueError, match=r"only marbles\.hot"):
        parse_diagram(text, 1.0)


def test_values_that_begin_with_a_digit_are_written_apart() -> None:
    assert [mark for _, mark in parse_diagram("a 5 x 7| ", 1.0)[0]] == ["a", "5", "x", "7", "|"]


def test_a_subscription_is_read() -> None:
    assert parse_span("--^--!-", 1.0) == SubscriptionSpan(2.0, 5.0)
    assert parse_span("^", 1.0) == SubscriptionSpan(0.0)
    assert parse_span("^ 1h !", 0.001) == SubscriptionSpan(0.0, 3600.001)
    with pytest.raises(ValueError, match="not 'a'"):
        parse_span("^-a", 1.0)
    with pytest.raises(ValueError, match="'5x' is not a valid time"):
        parse_span("^ 5x !", 1.0)


MOMENTS = st.lists(st.tuples(st.integers(0, 60), st.sampled_from("abc")), max_size=6)


@given(MOMENTS)
def test_what_is_drawn_reads_as_it_was(drawn: list[tuple[int, str]]) -> None:
    moments = [Moment(float(at * 6), mark) for at, mark in sorted(drawn, key=lambda m: m[0])]
    groups = {at: [mark for other, mark in moments if other == at] for at, _ in moments}
    if all(len(marks) < 4 for marks in groups.values()):
        assert parse_diagram(diagram_of(moments, 1.0), 1.0)[0] == moments
