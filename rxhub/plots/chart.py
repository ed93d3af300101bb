"""A Vega-Lite chart as a static SVG, in the colours of the other displays.

Colours are names of CSS variables, which Vega copies into the SVG. The style sheet of the page gives them the values of
the theme. The font is the one of the style sheet, because Vega measures texts to place them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rxhub.display.page import Page, Part, remark
from rxhub.display.style import SVG_STYLE
from rxhub.text.extras import missing_dependency
from rxhub.text.safe_repr import one_line

__all__ = ["Plot", "callback_label", "empty_plot", "plot"]

_WIDTH = 560  # of the plotting area, in pixels

_FAINT, _LINE = "var(--rx-faint)", "var(--rx-line)"
_AXIS = {"domainColor": _LINE, "gridColor": _LINE, "tickColor": _LINE, "labelColor": _FAINT, "titleColor": _FAINT}
_CONFIG = {
    "background": None,
    "font": "monospace",
    "view": {"stroke": None},
    "axis": {**_AXIS, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "labelLimit": 240},
    "legend": {"labelFontSize": 11, "labelLimit": 240, "title": None, "orient": "bottom", "columns": 2},
}


class Plot(Page):
    """A plot that a notebook displays. Printed as text, it is a table of its numbers."""

    def __init__(self, title: str, chips: Iterable[str], parts: Sequence[Part], svg: str) -> None:
        super().__init__(title, chips, parts)
        self._svg = svg

    def save(self, path: Path | str) -> None:
        """Write the plot as an SVG file, which follows the theme of its reader."""
        head, _, rest = self._svg.partition(">")
        Path(path).write_text(f"{head}><style>{SVG_STYLE}</style>{rest}", encoding="utf-8")


def plot(
    title: str, chips: Iterable[str], lines: list[str], data: Iterable[Mapping[str, Any]], chart: Mapping[str, Any]
) -> Plot:
    """Draw a chart.

    Args:
        title: the title.
        chips: labels beside the title.
        lines: the plot as text.
        data: the rows of the table to draw.
        chart: the Vega-Lite specification without its data.

    Raises:
        MissingDependency: without the extra `plot`.
    """
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        raise missing_dependency(error, "rxhub.plots", "plot") from None
    specification = {"width": _WIDTH, "config": _CONFIG, **chart, "data": {"values": list(data)}}
    svg = vl_convert.vegalite_to_svg(specification, allowed_base_urls=[])
    return Plot(title, chips, [Part(lines, svg)], svg)


def empty_plot(title: str, text: str) -> Plot:
    """A sentence instead of a plot without data."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="24"><text y="16">{text}</text></svg>'
    return Plot(title, (), [remark(text)], svg)


def callback_label(name: str) -> str:
    """The last 30 characters of a name, since it begins with the names of packages."""
    line = one_line(name, 300)
    return line if len(line) <= 30 else f"…{line[-29:]}"
