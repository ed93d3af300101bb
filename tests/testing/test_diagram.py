"""Diagrams as RxJS writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.testing.diagram import Moment, Span, diagram_of, parse_diagram, parse_span

DIAGRAMS = {
    "": ([], 0.0),
    "---": ([], 3.0),
    "-a-|": ([(1, "a"), (3, "|")], 4.0),
    "(ab)-c": ([(0, "a"), (0, "b"), (5, "c")], 6.0),
    "--a^-b#": ([(-1, "a"), (2, "b"), (3, "#")], 4.0),
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


@pytest.mark.parametrize("text", ["(a", "a)", "((a))", "(a-b)", "^a^b|^", "a|b", "a!", "(^a)"])
def test_what_is_no_diagram_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ValueError, match="no marble diagram") as raised:
        parse_diagram(text, 1.0)
    assert str(raised.value).rstrip().endswith("^")


def test_a_subscription_is_read() -> None:
    assert parse_span("--^--!-", 1.0) == Span(2.0, 5.0)
    assert parse_span("^", 1.0) == Span(0.0)
    assert parse_span("^ 1h !", 0.001) == Span(0.0, 3600.001)
    with pytest.raises(ValueError, match="not 'a'"):
        parse_span("^-a", 1.0)


MOMENTS = st.lists(st.tuples(st.integers(0, 60), st.sampled_from("abc")), max_size=6)


@given(MOMENTS)
def test_what_is_drawn_reads_as_it_was(drawn: list[tuple[int, str]]) -> None:
    moments = [Moment(float(at * 6), mark) for at, mark in sorted(drawn, key=lambda m: m[0])]
    groups = {at: [mark for other, mark in moments if other == at] for at, _ in moments}
    if all(len(marks) < 4 for marks in groups.values()):
        assert parse_diagram(diagram_of(moments, 1.0), 1.0)[0] == moments
