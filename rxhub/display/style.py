"""The style sheet of the HTML, for light and dark themes.

The variables of JupyterLab come first, since the user has chosen its theme. Without them, `prefers-color-scheme`
decides.
"""

from __future__ import annotations

__all__ = ["STYLE", "SVG_STYLE"]

_COLOURS = {  # name: variable of JupyterLab, light theme, dark theme
    "ink": ("content-font-color1", "#1f2328", "#e6edf3"),
    "faint": ("content-font-color2", "#59636e", "#9198a1"),
    "line": ("border-color2", "#d1d9e0", "#3d444d"),
    "soft": ("layout-color2", "#f6f8fa", "#21262d"),
    "yes": ("success-color1", "#1a7f37", "#3fb950"),
    "no": ("error-color1", "#cf222e", "#f85149"),
    "stop": ("warn-color0", "#9a6700", "#d29922"),
    "key": ("brand-color1", "#0969da", "#4493f8"),
}


def _colours(theme: int) -> str:
    return "".join(f"--rx-{name}:var(--jp-{colour[0]},{colour[theme]});" for name, colour in _COLOURS.items())


STYLE = (
    f".rxhub{{{_colours(1)}color:var(--rx-ink);font-size:13px;line-height:1.45;margin:2px 0 6px}}"
    f"@media(prefers-color-scheme:dark){{.rxhub{{{_colours(2)}}}}}"
    """
.rxhub .rx-head { margin-bottom: 4px; }
.rxhub .rx-head strong { font-size: 14px; margin-right: 8px; }
.rxhub .rx-chip { border: 1px solid var(--rx-line); border-radius: 9px; color: var(--rx-faint); font-size: 11px;
    margin-right: 4px; padding: 0 7px; white-space: nowrap; }
.rxhub .rx-code { font-family: var(--jp-code-font-family,ui-monospace,monospace); font-size: 12px; }
.rxhub summary { cursor: pointer; }
.rxhub table.rx-table { border-collapse: collapse; font-size: 12px; margin: 4px 0; table-layout: auto; }
.rxhub table.rx-table th, .rxhub table.rx-table td { background: none; border: 0;
    border-bottom: 1px solid var(--rx-line); color: inherit; max-width: 42em; overflow-wrap: anywhere;
    padding: 2px 14px 2px 0; text-align: left; vertical-align: top; white-space: normal; }
.rxhub table.rx-table td.rx-short { white-space: nowrap; }
.rxhub table.rx-table th { color: var(--rx-faint); font-weight: 600; white-space: nowrap; }
.rxhub table.rx-table tbody tr { background: none; }
.rxhub table.rx-table .rx-number { text-align: right; }
.rxhub tr.rx-no td { color: var(--rx-no); }
.rxhub tr.rx-stop td { color: var(--rx-stop); font-weight: 600; }
.rxhub tr.rx-faint td { color: var(--rx-faint); }
.rxhub .rx-tree { margin: 2px 0; }
.rxhub .rx-tree div { overflow-wrap: anywhere; }
.rxhub .rx-tree .rx-in { border-left: 1px solid var(--rx-line); margin-left: 5px; padding-left: 14px; }
.rxhub .rx-yes { color: var(--rx-yes); }
.rxhub .rx-no { color: var(--rx-no); }
.rxhub .rx-name { color: var(--rx-key); }
.rxhub .rx-faint { color: var(--rx-faint); }
.rxhub .rx-decisive { border-bottom: 1px solid; font-weight: 600; }
.rxhub svg { display: block; max-width: 100%; }
.rxhub svg text { fill: var(--rx-ink); font: 11px var(--jp-code-font-family,ui-monospace,monospace); }
""".replace("\n", "")
)
"""The content of the `style` element of each page."""

SVG_STYLE = (
    f"svg{{{_colours(1)}color-scheme:light dark}}"
    f"@media(prefers-color-scheme:dark){{svg{{{_colours(2)}}}}}"
    "svg text{fill:var(--rx-ink);font:11px ui-monospace,monospace}"
)
"""The content of the `style` element of a picture in its own file."""
