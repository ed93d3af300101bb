"""Sphinx configuration. Build without a network: `python -m sphinx -W docs docs/_build/html`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import rxhub

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "rxhub"
author = "the rxhub authors"
copyright = "the rxhub authors, Apache-2.0"
version = release = rxhub.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "jupyter_execute"]

html_theme = "furo"
html_title = f"rxhub {version}"
html_show_sourcelink = False

# The test suite runs the python blocks of these pages and compares their output. Sphinx only shows them.
nb_execution_mode = "off"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False


def copy_notebooks(app: Sphinx, _config: object) -> None:
    """Copy the notebooks into the source directory, from which alone Sphinx reads. Git ignores the copies."""
    copies = Path(app.srcdir, "learn", "notebooks")
    copies.mkdir(exist_ok=True)
    for notebook in Path(app.srcdir).parent.joinpath("notebooks").glob("*.ipynb"):
        text = notebook.read_text(encoding="utf-8").replace("](../docs/", "](../../")
        copy = copies / notebook.name
        if not copy.exists() or copy.read_text(encoding="utf-8") != text:  # else Sphinx would read it again
            copy.write_text(text, encoding="utf-8")


_COLON = "\ue000"  # private use area: does not occur in docstrings


def quote_code(_app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Before napoleon: turn `code` into RST literals, and hide the colons from which napoleon would read a type."""
    text = re.sub(
        r"(?<![`:])`([^`\n]+)`(?!`)(?=(\w?))", lambda m: f"``{m[1]}``" + ("\\ " if m[2] else ""), "\n".join(lines)
    )
    if what in {"property", "attribute", "data"}:
        text = text.replace(":", _COLON)
    lines[:] = text.split("\n")


def restore_colons(_app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """After napoleon: undo `quote_code`."""
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def setup(app: Sphinx) -> None:
    """Register the hooks with Sphinx."""
    app.connect("config-inited", copy_notebooks)
    app.connect("autodoc-process-docstring", quote_code, priority=400)
    app.connect("autodoc-process-docstring", restore_colons, priority=600)
