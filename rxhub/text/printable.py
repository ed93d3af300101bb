"""Escape text that comes from other programs for terminals, notebooks and logs.

Terminals execute C0 and C1 control characters (U+001B and U+009B begin escape sequences), bidirectional controls such
as U+202E reorder text, zero-width characters make different texts look alike, U+2028 and U+2029 break lines, and lone
surrogates cannot be encoded. `str.isprintable` is False for all of them (Unicode categories Cc, Cf, Cs, Co, Cn, Zl and
Zp). Two more kinds are escaped: other invisible characters (`Default_Ignorable_Code_Point` in Unicode's data), such as
the filler U+3164, and more than eight combining marks in a row, which cover other lines. The blanks of category Zs
become a plain blank.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

__all__ = ["inline", "printable", "printable_json", "terminal_width"]

_ASTRAL = 0x10000
_MAX_MARKS = 8
_IGNORED = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
# The first combining mark is U+0300.
_MAY_BE_MARKS = re.compile(f"[\u0300-\U0010ffff]{{{_MAX_MARKS + 1}}}")


def printable(text: str, *, lines: bool = False) -> str:
    r"""Write characters that are not printable as Python escapes, such as `\x9b` and `\u202e`.

    Args:
        text: any text.
        lines: whether to keep line breaks (`\n`) and tabs.

    Returns:
        The text itself if it is printable.
    """
    if _is_printable(text):
        return text
    return _rewritten(text, _escape, "\n\t" if lines else "")


def inline(text: str) -> str:
    """As `printable`, but white space becomes a blank; for cells and titles."""
    if _is_printable(text):
        return text
    return _rewritten(text, lambda c: " " if c.isspace() else _escape(c))


def printable_json(text: str) -> str:
    r"""Write characters of JSON text that are not printable as `\uXXXX`; line breaks are kept.

    Such characters occur only within strings. A carriage return between tokens becomes a blank.
    """
    if _is_printable(text):
        return text
    return _rewritten(text, _json_escape, "\n\t")


def terminal_width(text: str) -> int:
    """The number of terminal columns that a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _is_printable(text: str) -> bool:
    if not text.isprintable():
        return False
    if text.isascii():
        return True
    return not (_IGNORED.search(text) or (_MAY_BE_MARKS.search(text) and max(_marks(text)) > _MAX_MARKS))


def _marks(text: str) -> Iterator[int]:
    """For each character, the number of combining marks in a row that end with it."""
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character)[0] == "M" else 0
        yield marks


def _rewritten(text: str, escape: Callable[[str], str], kept: str = "") -> str:
    """A text with the characters escaped that are neither printable nor kept."""
    return "".join(
        [
            character
            if character in kept or (character.isprintable() and marks <= _MAX_MARKS and not _IGNORED.match(character))
            else escape(character)
            for character, marks in zip(text, _marks(text), strict=True)
        ]
    )


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
