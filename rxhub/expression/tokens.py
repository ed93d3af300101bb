r"""The patterns of the tokens; `grammar.lark` defines how they nest.

The lexer reads by these patterns, and the tree rejects by them what no text can denote. The character classes are
negated, since they include every non-ASCII character that is neither white space nor a control character (combining
marks too, which `\w` does not cover).

Repetitions are possessive: without backtracking an unclosed quote costs linear time, and a key does not give letters
back, or `main (x)` would be read as `ma in (x)`.
"""

from __future__ import annotations

import re

from rxhub.expression.comparisons import OPERATORS

__all__ = ["AND", "BARE", "IN", "ITEM", "KEY", "NOT", "OPERATOR", "OR", "QUOTED"]

# A keyword ends before any character that cannot continue a word. In ftrack's client a `.` cannot: `not.x=1` is
# `not (.x=1)`. So no key begins with `not.`.
_WORD_ENDS = r"(?![A-Za-z0-9_$]|[^\x00-\x9f\s])"

KEY = r"(?![nN][oO][tT]\.)[^\x00-,/:-@\[-^`{-\x9f\s]++"
"""A key: `A-Z a-z 0-9 _ . -` and non-ASCII characters."""

OPERATOR = "|".join(re.escape(token) for token in sorted(OPERATORS, key=len, reverse=True))

BARE = r"""[^\x00-"$&-);-?\[-^`{-\x9f\s]++"""
"""A value without quotes: `A-Z a-z 0-9 _ - , . / * @ + : % #` and non-ASCII characters."""

ITEM = r"""[^\x00-"$&-),;-?\[-^`{-\x9f\s]++"""
"""A value inside `in (…)`, where a comma ends it."""

QUOTED = r"""(?s:"(?:[^"\\]|""|\\.)*+"|'(?:[^'\\]|''|\\.)*+')"""
"""A value in quotes. As in pyparsing, which ftrack's client uses, a doubled quote and a quote after a backslash do not
end the value; both stay in it as written."""

NOT = rf"[nN][oO][tT]{_WORD_ENDS}(?!-|\s*+(?:{OPERATOR}|[iI][nN]\s*+\())"
"""The keyword `not`. Before an operator, `in (` or `-` it is a key, or the start of one."""

AND = rf"[aA][nN][dD]{_WORD_ENDS}"
OR = rf"[oO][rR]{_WORD_ENDS}"
IN = rf"[iI][nN]{_WORD_ENDS}"
