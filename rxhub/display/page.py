"""Pages for notebooks: a title and parts, which can be written as text and as HTML."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from itertools import islice, zip_longest
from typing import NamedTuple

from rxhub.display.style import STYLE
from rxhub.text.layout import TreeLine, format_table, format_tree, without_empty_columns
from rxhub.text.printable import printable
from rxhub.text.safe_repr import escape_html, one_line

__all__ = ["MAX_ROWS", "Page", "Part", "remark", "table", "tree"]

MAX_ROWS = 100
"""Of a table: the first ones are shown."""

_MAX_CELL = 300  # characters
_MAX_UNWRAPPED_CELL = 48
_OPEN_LEVELS = 2


class Part(NamedTuple):
    """A part of a page: lines of text, and HTML, escaped."""

    lines: list[str]
    html: str


class Page:
    """What a notebook shows of an object. Chips are short labels beside the title; empty ones are left out."""

    def __init__(self, title: str, chips: Iterable[str] = (), parts: Sequence[Part] = ()) -> None:
        self.title = one_line(title, 200)
        self.chips = [one_line(chip, 120) for chip in chips if chip]
        self.parts = parts

    def with_chip(self, chip: str) -> Page:
        """The same page with another chip in front."""
        return Page(self.title, [chip, *self.chips], self.parts)

    def text(self) -> str:
        head = f"{self.title}  ({', '.join(self.chips)})" if self.chips else self.title
        lines = [head, *(f"  {line}" for part in self.parts for line in part.lines)]
        return printable("\n".join(lines), lines=True)

    def html(self) -> str:
        """The page as HTML, for light and dark themes."""
        chips = "".join(f'<span class="rx-chip">{escape_html(chip)}</span>' for chip in self.chips)
        head = f'<div class="rx-head"><strong>{escape_html(self.title)}</strong>{chips}</div>'
        body = "".join(part.html for part in self.parts)
        return f'<style>{STYLE}</style><div class="rxhub">{head}{body}</div>'

    def bundle(self) -> dict[str, str]:
        return {"text/plain": self.text(), "text/html": self.html()}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.bundle()


def remark(text: str) -> Part:
    """A sentence."""
    return Part([text], f'<div class="rx-faint">{escape_html(text)}</div>')


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    kinds: Sequence[str] = (),
    total: int | None = None,
    numbers: Container[str] = (),
) -> Part:
    """A table of the first 100 rows. Empty columns are left out, and so is the heading if it is empty.

    The kind of a row is a style: "no", "stop", "faint" or "". `total` is the number of rows, if not all are passed, and
    `numbers` are the headings of columns with numbers.
    """
    rows = [[one_line(cell, _MAX_CELL) for cell in row] for row in islice(rows, MAX_ROWS)]
    more = [remark(f"… and {total - len(rows)} more")] if total is not None and total > len(rows) else []
    html = _table_html(headings, rows, kinds, numbers) if rows else ""
    lines = format_table(headings, rows)[0 if any(headings) else 1 :] if rows else []
    return Part([*lines, *(line for each in more for line in each.lines)], html + "".join(each.html for each in more))


def _table_html(
    headings: Sequence[str], rows: Sequence[Sequence[str]], kinds: Sequence[str], numbers: Container[str]
) -> str:
    headings, rows = without_empty_columns(headings, rows)
    sides = ["rx-number" if heading in numbers else "" for heading in headings]
    cells = [f'<th class="{side}">{escape_html(heading)}</th>' for side, heading in zip(sides, headings, strict=True)]
    head = f"<thead><tr>{''.join(cells)}</tr></thead>" if any(headings) else ""
    body = "".join(
        f'<tr class="rx-{kind or "row"}">{"".join(map(_cell, sides, row))}</tr>'
        for row, kind in zip_longest(rows, kinds[: len(rows)])
    )
    return f'<table class="rx-table">{head}<tbody>{body}</tbody></table>'


def _cell(side: str, cell: str) -> str:
    width = "rx-short" if len(cell) <= _MAX_UNWRAPPED_CELL else ""
    return f'<td class="rx-code {side} {width}">{escape_html(cell)}</td>'


def tree(lines: Iterable[TreeLine], folds: bool = False) -> Part:
    """A tree of lines. If it `folds`, deeper lines are folded."""
    lines = list(lines)
    parts: list[str] = []
    endings: list[str] = []  # of the levels that are open
    for line, following in zip_longest(lines, lines[1:]):
        while len(endings) > line.level:
            parts.append(endings.pop())
        if following is None or following.level <= line.level:
            parts.append(f"<div>{_line(line)}</div>")
        elif folds:
            opened = " open" if line.level < _OPEN_LEVELS else ""
            parts.append(f'<details{opened}><summary>{_line(line)}</summary><div class="rx-in">')
            endings.append("</div></details>")
        else:
            parts.append(f'<div>{_line(line)}</div><div class="rx-in">')
            endings.append("</div>")
    return Part(format_tree(lines), f'<div class="rx-tree">{"".join(parts)}{"".join(endings)}</div>')


_MARKS = {True: '<span class="rx-yes">✓</span> ', False: '<span class="rx-no">✗</span> ', None: ""}


def _line(line: TreeLine) -> str:
    kind = "rx-name" if line.mark is None else "rx-yes" if line.mark else "rx-no"
    decisive = " rx-decisive" if line.decisive else ""
    text = f'<span class="rx-code {kind}{decisive}">{escape_html(line.text)}</span>' if line.text else ""
    detail = f'<span class="rx-code">{escape_html(line.detail)}</span>' if line.detail else ""
    return f"{_MARKS[line.mark]}{text}{'&ensp;' if text and detail else ''}{detail}"
