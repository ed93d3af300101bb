"""Text that a terminal, a notebook or a log can show without obeying it.

Topics, user names, ids, data and error texts come from other programs. A terminal obeys C0 and C1 control characters
(U+001B and U+009B begin escape sequences). Bidirectional controls such as U+202E reorder what the reader sees,
zero-width characters make two different texts look alike, U+2028 and U+2029 break lines, and a lone surrogate cannot be
encoded.
Python's `str.isprintable` is False for all of them (Unicode categories Cc, Cf, Cs, Co, Cn, Zl and Zp). Two more kinds
are escaped: the other characters that show nothing (`Default_Ignorable_Code_Point` in Unicode's data),
such as the filler U+3164, and the combining marks beyond eight in a row, which cover the lines above and below. The
blanks of category Zs are harmless and become a plain blank.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

__all__ = ["inline", "printable", "printable_json", "terminal_width"]

_ASTRAL = 0x10000
_MOST_MARKS = 8
_IGNORED = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
# No combining mark comes before U+0300.
_MAY_BE_MARKS = re.compile(f"[\u0300-\U0010ffff]{{{_MOST_MARKS + 1}}}")


def printable(text: str, *, lines: bool = False) -> str:
    r"""Text with the characters that are not printable written as Python escapes, such as `\x9b` and `\u202e`.

    Args:
        text: any text.
        lines: whether line breaks (`\n`) and tabs are kept, for texts of several lines.

    Returns:
        The text itself if all of it is printable.
    """
    if _is_shown(text):
        return text
    return _rewritten(text, _escape, "\n\t" if lines else "")


def inline(text: str) -> str:
    """As `printable`, but line breaks, tabs and other white space become a blank: for cells and titles."""
    if _is_shown(text):
        return text
    return _rewritten(text, lambda c: " " if c.isspace() else _escape(c))


def printable_json(text: str) -> str:
    r"""JSON text that means the same and has no character that is not printable, but for line breaks.

    Such characters can stand only within strings, where they are written as `\uXXXX`; a carriage return between tokens
    becomes a blank.
    """
    if _is_shown(text):
        return text
    return _rewritten(text, _json_escape, "\n\t")


def terminal_width(text: str) -> int:
    """How many columns of a terminal a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _is_shown(text: str) -> bool:
    """Whether a text can be shown as it is."""
    if not text.isprintable():
        return False
    return text.isascii() or not (_IGNORED.search(text) or (_MAY_BE_MARKS.search(text) and _has_many_marks(text)))


def _has_many_marks(text: str) -> bool:
    marks = 0
    for character in text:
        marks = marks + 1 if _is_mark(character) else 0
        if marks > _MOST_MARKS:
            return True
    return False


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


def _rewritten(text: str, escape: Callable[[str], str], kept: str = "") -> str:
    """A text with what cannot be shown escaped, but for the characters that are kept."""
    shown: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if _is_mark(character) else 0
        is_fit = character.isprintable() and marks <= _MOST_MARKS and not _IGNORED.match(character)
        shown.append(character if is_fit or character in kept else escape(character))
    return "".join(shown)


def _escape(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(character: str) -> str:
    if character == "\r":
        return " "
    number = ord(character)
    if number < _ASTRAL:
        return f"\\u{number:04x}"
    number -= _ASTRAL
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"
