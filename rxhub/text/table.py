"""Tables as plain text: what is printed where no terminal draws a better one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rxhub.text.safe_repr import one_line

__all__ = ["format_table", "without_empty_columns"]

_WIDEST = 300


def without_empty_columns(
    headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], list[Sequence[str]]]:
    """The table without the columns in which no row has anything."""
    kept = [column for column in range(len(headings)) if any(row[column] for row in rows)]
    return [headings[column] for column in kept], [[row[column] for column in kept] for row in rows]


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table: the first column to the right, the others to the left, no blanks at an end.

    A cell is one line of at most 300 characters, which prints anywhere; a column in which no row has anything is left
    out.
    """
    headings, rows = without_empty_columns(headings, rows)
    table = [[one_line(cell, _WIDEST) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    sides = [str.rjust, *[str.ljust] * len(widths)]
    return ["  ".join(map(_put, sides, row, widths)).rstrip() for row in table]


def _put(side: Callable[[str, int], str], cell: str, width: int) -> str:
    return side(cell, width)
