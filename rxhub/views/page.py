"""A page is a title and parts; each part can be written as text and as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Protocol

from rxhub.columns import columns, filled
from rxhub.markup import escaped, one_line
from rxhub.views.safe import Line
from rxhub.views.style import STYLE

__all__ = ["MOST_ROWS", "Drawing", "Note", "Page", "Part", "Table", "Tree"]

MOST_ROWS = 100
"""Of one table; the first ones."""

_WIDEST = 300  # characters of a cell


class Part(Protocol):
    """Something on a page."""

    def lines(self) -> list[str]:
        """As text."""
        ...

    def html(self) -> str:
        """As HTML, escaped."""
        ...


class Page:
    """What a notebook shows of one object.

    Args:
        title: what it is.
        chips: what there is to know of it at a glance; empty ones are left out.
        parts: the rest, from top to bottom.
    """

    def __init__(self, title: str, chips: Iterable[str] = (), parts: Sequence[Part] = ()) -> None:
        self.title = one_line(title, 200)
        self.chips = [one_line(chip, 120) for chip in chips if chip]
        self.parts = parts

    def text(self) -> str:
        """For terminals, and for whoever reads the notebook's file."""
        head = f"{self.title}  ({', '.join(self.chips)})" if self.chips else self.title
        lines = [head, *(f"  {line}" for part in self.parts for line in part.lines())]
        return "\n".join(lines).encode("utf-8", "backslashreplace").decode("utf-8")

    def html(self) -> str:
        """For notebooks, in light and dark."""
        chips = "".join(f'<span class="rx-chip">{escaped(chip)}</span>' for chip in self.chips)
        head = f'<div class="rx-head"><strong>{escaped(self.title)}</strong>{chips}</div>'
        body = "".join(part.html() for part in self.parts)
        return f'<style>{STYLE}</style><div class="rxhub">{head}{body}</div>'

    def bundle(self) -> dict[str, str]:
        """What `_repr_mimebundle_` gives back."""
        return {"text/plain": self.text(), "text/html": self.html()}


class Note:
    """A sentence."""

    def __init__(self, text: str) -> None:
        self.text = text

    def lines(self) -> list[str]:
        return [self.text]

    def html(self) -> str:
        return f'<div class="rx-faint">{escaped(self.text)}</div>'


class Table:
    """Rows under headings; a column in which no row has anything is left out.

    Args:
        headings: one a column.
        rows: the first 100 are shown.
        kinds: a style for each row: "no", "stop", "faint" or nothing.
        total: how many rows there are, if not all were given.
        numbers: headings over numbers.
    """

    def __init__(
        self,
        headings: Sequence[str],
        rows: Iterable[Sequence[str]],
        kinds: Sequence[str] = (),
        total: int | None = None,
        numbers: Iterable[str] = (),
    ) -> None:
        self.headings = headings
        self.rows = [[one_line(cell, _WIDEST) for cell in row] for row in islice(rows, MOST_ROWS)]
        self.kinds = [*kinds[: len(self.rows)], *[""] * (len(self.rows) - len(kinds))]
        self.more = 0 if total is None else total - len(self.rows)
        self.numbers = frozenset(numbers)

    def lines(self) -> list[str]:
        more = [f"… and {self.more} more"] if self.more > 0 else []
        return [*columns(self.headings, self.rows), *more] if self.rows else more

    def html(self) -> str:
        if not self.rows:
            return ""
        headings, rows = filled(self.headings, self.rows)
        sides = [' class="rx-number"' if heading in self.numbers else "" for heading in headings]
        head = "".join(f"<th{side}>{escaped(heading)}</th>" for side, heading in zip(sides, headings, strict=True))
        body = "".join(
            f'<tr class="rx-{kind or "row"}">'
            + "".join(f"<td{side}><code>{escaped(cell)}</code></td>" for side, cell in zip(sides, row, strict=True))
            + "</tr>"
            for kind, row in zip(self.kinds, rows, strict=True)
        )
        more = f'<div class="rx-faint">… and {self.more} more</div>' if self.more > 0 else ""
        return f'<table class="rx-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}'


class Tree:
    """Lines below each other, each as deep as its level."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = list(lines)

    def lines(self) -> list[str]:
        return [f"{'  ' * line.level}{_sign(line)}{line.text}{_gap(line)}{line.detail}" for line in self._lines]

    def html(self) -> str:
        parts: list[str] = []
        level = 0
        for line in self._lines:
            parts.append('<div class="rx-in">' * (line.level - level) + "</div>" * (level - line.level))
            level = line.level
            parts.append(f"<div>{_line(line)}</div>")
        return f'<div class="rx-tree">{"".join(parts)}{"</div>" * level}</div>'


_SIGNS = {None: "", True: "[x] ", False: "[ ] "}
_MARKS = {True: '<span class="rx-yes">✓</span> ', False: '<span class="rx-no">✗</span> ', None: ""}


def _sign(line: Line) -> str:
    return _SIGNS[line.mark]


def _gap(line: Line) -> str:
    return "  " if line.text and line.detail else ""


def _line(line: Line) -> str:
    kind = "rx-name" if line.mark is None else "rx-yes" if line.mark else "rx-no"
    decisive = " rx-decisive" if line.decisive else ""
    text = f'<code class="{kind}{decisive}">{escaped(line.text)}</code>' if line.text else ""
    detail = f"<code>{escaped(line.detail)}</code>" if line.detail else ""
    return f"{_MARKS[line.mark]}{text}{'&ensp;' if text and detail else ''}{detail}"


class Drawing:
    """A picture as SVG, and the same in letters.

    Args:
        svg: its text escaped already.
        letters: the lines for where nothing can be drawn.
    """

    def __init__(self, svg: str, letters: Sequence[str]) -> None:
        self.svg = svg
        self.letters = letters

    def lines(self) -> list[str]:
        return [*self.letters]

    def html(self) -> str:
        return self.svg
