"""The grammar: what a subscription is written with, and how it nests.

The alphabets stand here once: the parser reads with them, and the tree refuses with them what no text
could denote. They are written as what they leave out, because every non-ASCII character that is neither
white space nor a control belongs to them (combining marks too, which `\\w` would not cover).

Keywords end before anything that could continue a word. `.` could not, in ftrack's client: `not.x=1` is
`not (.x=1)`, and so no key begins with `not.`; `not-x` and `not` before an operator are keys.
"""

from __future__ import annotations

__all__ = ["BARE", "GRAMMAR", "ITEM", "KEY", "QUOTED", "WORDS"]

_KEY_CHARACTER = r"[^\x00-,\x2f:-@\[-^`{-\x9f\s]"  # A-Z a-z 0-9 _ . -
_VALUE_CHARACTER = r"""[^\x00-"$&-);-?\[-^`{-\x9f\s]"""  # A-Z a-z 0-9 _ - , . / * @ + : % #
_ITEM_CHARACTER = r"""[^\x00-"$&-),;-?\[-^`{-\x9f\s]"""  # as in a value, but no comma
_WORD_GOES_ON = r"(?![A-Za-z0-9_$]|[^\x00-\x9f\s])"

_NOT = rf"[nN][oO][tT]{_WORD_GOES_ON}(?!-|\s*(?:[=<>]|!=|[iI][nN]\s*\())"

# The quotes of pyparsing, which ftrack's client reads with: a doubled quote and a quote behind a backslash
# do not end the text, yet both stay in it. The alternatives begin with different characters, so that a quote
# that is never closed costs linear time.
_DOUBLE = r'"[^"\\]*(?:(?:""|\\.)[^"\\]*)*"'
_SINGLE = r"'[^'\\]*(?:(?:''|\\.)[^'\\]*)*'"

KEY = rf"(?![nN][oO][tT]\.){_KEY_CHARACTER}+"
"""Pattern of a key."""

BARE = rf"{_VALUE_CHARACTER}+"
"""Pattern of a value without quotes."""

ITEM = rf"{_ITEM_CHARACTER}+"
"""Pattern of a value without quotes inside `in (…)`, where a comma ends it."""

QUOTED = rf"(?s:{_DOUBLE}|{_SINGLE})"
"""Pattern of a value in quotes, the quotes included."""

GRAMMAR = rf"""
?start: disjunction
      |                                 -> everything

?disjunction: conjunction (_OR conjunction)*
?conjunction: operand (_AND operand)*

?operand: _NOT operand                  -> negation
        | _OPEN disjunction _CLOSE
        | KEY OPERATOR BARE             -> bare
        | KEY OPERATOR QUOTED           -> quoted
        | KEY _IN _OPEN item (_COMMA item)* _CLOSE   -> membership

?item: ITEM | QUOTED

KEY:      /{KEY}/
OPERATOR: /[<>!]=|[<>=]/
BARE:     /{BARE}/
ITEM:     /{ITEM}/
QUOTED:   /{QUOTED}/
_NOT.1:   /{_NOT}/
_AND:     /[aA][nN][dD]{_WORD_GOES_ON}/
_OR:      /[oO][rR]{_WORD_GOES_ON}/
_IN:      /[iI][nN]{_WORD_GOES_ON}/
_OPEN:    "("
_CLOSE:   ")"
_COMMA:   ","

%ignore /\s+/
"""

WORDS = {
    "KEY": "a key",
    "OPERATOR": "an operator (= != >= <= > <)",
    "BARE": "a value",
    "ITEM": "a value",
    "QUOTED": "a value",
    "_NOT": "`not`",
    "_AND": "`and`",
    "_OR": "`or`",
    "_IN": "`in`",
    "_OPEN": "`(`",
    "_CLOSE": "`)`",
    "_COMMA": "`,`",
    "$END": "the end",
}
"""What people call each terminal."""
