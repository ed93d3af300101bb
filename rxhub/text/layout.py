"""Tables and trees as lines of plain text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rxhub.text.safe_repr import one_line

__all__ = ["TreeLine", "format_table", "format_tree", "without_empty_columns"]

_MAX_CELL = 300  # characters
_MARKS = {None: "", True: "[x] ", False: "[ ] "}


def without_empty_columns(
    headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], list[Sequence[str]]]:
    """The table without the columns that are empty in all rows."""
    kept = [column for column in range(len(headings)) if any(row[column] for row in rows)]
    return [headings[column] for column in kept], [[row[column] for column in kept] for row in rows]


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table: the first column right-aligned, the others left-aligned, no trailing blanks.

    A cell is one printable line of at most 300 characters. Empty columns are left out.
    """
    headings, rows = without_empty_columns(headings, rows)
    table = [[one_line(cell, _MAX_CELL) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    sides = [str.rjust, *[str.ljust] * len(widths)]
    return ["  ".join(map(_put, sides, row, widths)).rstrip() for row in table]


def _put(side: Callable[[str, int], str], cell: str, width: int) -> str:
    return side(cell, width)


class TreeLine(NamedTuple):
    """One line of a tree.

    Attributes:
        level: 0 at the root.
        text: the line.
        detail: what follows the text in another style.
        mark: whether what the line says holds; None if that is not a question.
        decisive: whether the line decides the mark of the root.
    """

    level: int
    text: str
    detail: str = ""
    mark: bool | None = None
    decisive: bool = False


def format_tree(lines: Iterable[TreeLine]) -> list[str]:
    """The lines of a tree, indented by level."""
    return [
        f"{'  ' * line.level}{_MARKS[line.mark]}{line.text}{'  ' if line.text and line.detail else ''}{line.detail}"
        for line in lines
    ]
