"""Tables as plain text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rxhub.text.layout import format_table


def test_the_first_column_is_to_the_right_and_empty_ones_are_left_out() -> None:
    rows = [("1", "", "a", ""), ("100", "", "b", "c")]
    assert format_table(("n", "x", "name", "why"), rows) == ["  n  name  why", "  1  a", "100  b     c"]


def test_a_cell_is_one_bounded_line() -> None:
    (_, line) = format_table(("a", "b"), [("x\ny\x1b[31m", "z" * 1000)])
    assert line == "x y\\x1b[31m  " + "z" * 299 + "…"
    assert format_table(("id",), [("\udfff",)])[1] == "\\udfff"


CELLS = st.text(max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=5))
def test_any_text_makes_a_table_that_can_be_printed(rows: list[tuple[str, str, str]]) -> None:
    lines = format_table(("a", "b", "c"), rows)
    assert len(lines) == len(rows) + 1
    for line in lines:
        assert line.encode() is not None and line == line.rstrip() and line.isprintable()
