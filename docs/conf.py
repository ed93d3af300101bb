"""How these pages are built: `python -m sphinx -W docs docs/_build/html`, without a network."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "rxhub"
author = "the rxhub authors"
copyright = "the rxhub authors, Apache-2.0"
version = release = version_of("rxhub")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "jupyter_execute"]

html_theme = "furo"
html_title = f"rxhub {version}"
html_show_sourcelink = False

# The python blocks of these pages run in the test suite, where a wrong answer fails; here they are only shown.
nb_execution_mode = "off"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False


def leave_out_what_is_not_built_yet(_: Sphinx, docname: str, source: list[str]) -> None:
    """Drop the sections of the reference whose module does not exist, so that it may name all of them in order."""
    if docname != "reference":
        return
    head, *sections = re.split(r"(?m)^(?=## )", source[0])
    source[0] = head + "".join(s for s in sections if all(map(_exists, re.findall(r"automodule:: (\S+)", s))))


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


_COLON = "\ue000"  # a character of private use: nobody writes it


def read_as_it_is_written(
    _app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Before napoleon: let `code` be code, also where a letter follows, and a property's text no `type: text`."""
    text = re.sub(
        r"(?<![`:])`([^`\n]+)`(?!`)(?=(\w?))", lambda m: f"``{m[1]}``" + ("\\ " if m[2] else ""), "\n".join(lines)
    )
    if what in {"property", "attribute", "data"}:
        text = text.replace(":", _COLON)
    lines[:] = text.split("\n")


def give_colons_back(_app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """After napoleon."""
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", leave_out_what_is_not_built_yet)
    app.connect("autodoc-process-docstring", read_as_it_is_written, priority=400)
    app.connect("autodoc-process-docstring", give_colons_back, priority=600)
