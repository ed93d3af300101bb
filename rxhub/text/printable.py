"""Text that a terminal, a notebook or a log can show without obeying it.

Topics, user names, ids, data and error texts come from other programs. A terminal obeys C0 and C1 control characters
(U+001B and U+009B begin escape sequences). Bidirectional controls such as U+202E reorder what the reader sees,
zero-width characters make two different texts look alike, U+2028 and U+2029 break lines, and a lone surrogate cannot be
encoded.
Python's `str.isprintable` is False for all of them (Unicode categories Cc, Cf, Cs, Co, Cn, Zl and Zp), so it is the one
test that everything here uses. The blanks of category Zs are harmless and become a plain blank.
"""

from __future__ import annotations

import unicodedata

__all__ = ["columns_of", "inline", "printable", "printable_json"]

_ASTRAL = 0x10000


def printable(text: str, *, lines: bool = False) -> str:
    r"""Text with the characters that are not printable written as Python escapes, such as `\x9b` and `\u202e`.

    Args:
        text: any text.
        lines: whether line breaks (`\n`) and tabs are kept, for texts of several lines.

    Returns:
        The text itself if all of it is printable.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join([c if c.isprintable() or c in kept else _escape(c) for c in text])


def inline(text: str) -> str:
    """As `printable`, but line breaks, tabs and other white space become a blank: for cells and titles."""
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() else " " if c.isspace() else _escape(c) for c in text])


def printable_json(text: str) -> str:
    r"""JSON text that means the same and has no character that is not printable, but for line breaks.

    Such characters can stand only within strings, where they are written as `\uXXXX`; a carriage return between tokens
    becomes a blank.
    """
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() or c in "\n\t" else _json_escape(c) for c in text])


def columns_of(text: str) -> int:
    """How many columns of a terminal a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


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
