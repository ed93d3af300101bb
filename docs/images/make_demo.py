"""Create `demo.svg`, the picture of `rxhub demo` in the README: `python docs/images/make_demo.py`, in a clone.

The script plays the demo until `MOMENT` and draws the live view of the terminal. The picture loads no fonts:
it uses the reader's monospaced font, stretched to the columns.
"""

from __future__ import annotations

import logging
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from rxhub import EventHub, sample_events
from rxhub.cli.demo.studio import PACE, play, studio
from rxhub.cli.demo.view import Tally, View

MOMENT = 115
"""Number of deliveries in the picture, which shows a stop, a failure and a reply."""
COLUMNS, LINES = 100, 30
PICTURE = Path(__file__).with_name("demo.svg")

BLACK, RED, GREEN, YELLOW = (72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34)
BLUE, MAGENTA, CYAN, WHITE = (88, 166, 255), (210, 128, 255), (57, 197, 207), (177, 186, 196)
DARK = TerminalTheme((13, 17, 23), (201, 209, 217), [BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE])

# rich's own format asks a server for a font.
FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
    font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
    font-size: {char_height}px; line-height: {line_height}px;
}}
.{unique_id}-title {{ font-family: system-ui, sans-serif; font-size: 18px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""


def played(moment: int) -> Tally:
    """Return the tally of the sample events after `moment` deliveries."""
    events = list(sample_events())
    with EventHub() as hub:
        tally = Tally(hub, studio(hub, hub.scheduler), len(events))
        for tally.played in play(hub, events, PACE, hub.scheduler):
            if tally.deliveries >= moment:
                break
    return tally


def picture(tally: Tally) -> str:
    """Return the live view of `tally` as SVG."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(View(tally), height=LINES)
    return console.export_svg(title="rxhub demo", theme=DARK, code_format=FORMAT, unique_id="demo")


if __name__ == "__main__":
    logging.getLogger("rxhub").addHandler(logging.NullHandler())  # the picture shows its errors
    PICTURE.write_text(picture(played(MOMENT)), encoding="utf-8")
    print(PICTURE)
