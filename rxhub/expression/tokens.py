r"""How the words of a subscription are written; `grammar.lark` says how they nest.

The alphabets stand here once: reading goes by them, and the tree refuses by them what no text could denote. They
are written as what they leave out, since every non-ASCII character that is neither white space nor a control
belongs to them (combining marks too, which `\w` would not cover).

Every pattern is possessive where it repeats. Nothing is tried twice, so that a quote that is never closed costs
linear time; and a key never gives letters back, or `main (x)` would be read as `ma in (x)`.
"""

from __future__ import annotations

import re

from rxhub.expression.comparisons import OPERATORS

__all__ = ["AND", "BARE", "IN", "ITEM", "KEY", "NOT", "OPERATOR", "OR", "QUOTED"]

# A keyword ends before anything that could not continue a word. A `.` cannot, in ftrack's client: `not.x=1` is
# `not (.x=1)`, and so no key begins with `not.`.
_WORD_ENDS = r"(?![A-Za-z0-9_$]|[^\x00-\x9f\s])"

KEY = r"(?![nN][oO][tT]\.)[^\x00-,/:-@\[-^`{-\x9f\s]++"
"""A key: `A-Z a-z 0-9 _ . -` and non-ASCII characters."""

OPERATOR = "|".join(re.escape(token) for token in sorted(OPERATORS, key=len, reverse=True))

BARE = r"""[^\x00-"$&-);-?\[-^`{-\x9f\s]++"""
"""A value without quotes: `A-Z a-z 0-9 _ - , . / * @ + : % #` and non-ASCII characters."""

ITEM = r"""[^\x00-"$&-),;-?\[-^`{-\x9f\s]++"""
"""The same inside `in (…)`, where a comma ends it."""

QUOTED = r"""(?s:"(?:[^"\\]|""|\\.)*+"|'(?:[^'\\]|''|\\.)*+')"""
"""A value in quotes, with them. As in pyparsing, with which ftrack's client reads, a doubled quote and a quote
behind a backslash do not end the text; both stay in it as they are written."""

NOT = rf"[nN][oO][tT]{_WORD_ENDS}(?!-|\s*+(?:{OPERATOR}|[iI][nN]\s*+\())"
"""The keyword `not`. Before an operator, `in (` or `-` it is a key, or the beginning of one."""

AND = rf"[aA][nN][dD]{_WORD_ENDS}"
OR = rf"[oO][rR]{_WORD_ENDS}"
IN = rf"[iI][nN]{_WORD_ENDS}"
