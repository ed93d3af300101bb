"""Error messages for invalid subscriptions: what was found, what was expected, and how to fix the usual mistakes.

Each function takes the text and the position after the last token, and returns the error to raise.
"""

from __future__ import annotations

import re

from rxhub.errors import ExpressionError
from rxhub.expression.comparisons import OPERATORS
from rxhub.expression.tokens import BARE, IN, ITEM, KEY, NOT, OPERATOR, QUOTED

__all__ = ["not_a_continuation", "not_an_item", "not_an_operand", "unclosed"]

_CONDITION = "a condition such as topic=ftrack.update"
_KEYWORD = r"(?i:and|or|in|not)(?![A-Za-z0-9_$.\-]|[^\x00-\x9f\s])"

# Signs from other languages at the position where reading stopped.
_HABITS = (
    ("&", "Write `and`."),
    ("|", "Write `or`."),
    ("!", "Write `not` before a condition, or `!=` between a key and a value."),
    (";", "Join conditions with `and` or `or`."),
    (",", "Join conditions with `and` or `or`; use commas only inside `in (…)`."),
)

# Operators of other languages, after a key.
_FOREIGN = (
    (r"contains|has", "Lists are searched: `{key}=value` holds if any item is the value."),
    (r"like|matches|startswith|starts", "Write a prefix as a value that ends in `*`: `{key}=value*`."),
    (r"is|eq|equals", "Write equality as `{key}=value`; `not {key}=*` matches if the key is missing or null."),
)


def not_an_operand(text: str, position: int) -> ExpressionError:
    """The error where neither a condition nor `not` nor `(` can be read."""
    start = _past(r"", text, position)
    after_key = _past(KEY, text, start)
    if after_key == start:
        return _no_key(text, start)
    found = _match(_KEYWORD, text, start)
    if found and not re.compile(rf"\s*(?:{OPERATOR})").match(text, found.end()):
        return _mistake(text, start, _CONDITION, "", f"Found the keyword `{found[0]}` instead of a condition.")
    key = text[start:after_key].rstrip()
    operator = _match(OPERATOR, text, after_key)
    if operator:
        return _no_value(text, key, operator)
    membership = _match(IN, text, after_key)
    if membership:
        hint = f"Put the values of `in` in parentheses: {_short(key)} in (a, b)."
        return _mistake(text, _past("", text, membership.end()), "`(`", hint)
    return _no_operator(text, key, after_key)


def _no_key(text: str, position: int) -> ExpressionError:
    here = text[position : position + 1]
    hint = ""
    if here in {'"', "'"}:
        hint = "Write keys without quotes; only values may be quoted."
    elif here == ")":
        hint = "Parentheses must contain a condition at least." if text[:position].rstrip().endswith("(") else ""
    elif here == "*":
        hint = "To match everything, use the empty string."
    return _mistake(text, position, f"{_CONDITION}, `not` or `(`", hint or _habit(here))


def _no_operator(text: str, key: str, position: int) -> ExpressionError:
    here = text[position : position + 1]
    name = _short(key)
    negated = _match(r"(?i:not)\s+(?i:in)\b", text, position)
    if negated:
        hint = f"Write not {name} in (…)."
    elif re.compile(r"!\s+=").match(text, position):
        hint = "No blank is allowed in an operator: `!=`."
    elif here in {":", "~"}:
        hint = "Write equality as `=`, and a prefix as a value that ends in `*`."
    elif here in {"", ")"} or _match(r"(?i:and|or)\b", text, position):
        topic = f", and topic={name} picks a topic" if "." in key else ""
        hint = f"A key alone is not a condition; {name}=* matches if it is present{topic}."
    elif here == "*":
        hint = f"To match topics by prefix, write topic={name}*."
    else:
        words = (hint.format(key=name) for word, hint in _FOREIGN if _match(rf"(?i:{word})\b", text, position))
        hint = next(words, "") or _habit(here)
    return _mistake(text, position, f"an operator ({' '.join(OPERATORS)}) or `in (…)` after the key {name}", hint)


def _no_value(text: str, key: str, operator: re.Match[str]) -> ExpressionError:
    position = _past("", text, operator.end())
    here = text[position : position + 1]
    sign, blank = operator[0], position > operator.end()
    if here in {'"', "'"}:
        return _unclosed_quote(text, position)
    if here == "=" and sign in {"<", ">"} and blank:
        hint = f"No blank is allowed in an operator: `{sign}=`."
    elif here == "=":
        hint = f"Write equality with one sign: {_short(key)}=value."
    elif sign == "=" and here in {"<", ">"}:
        hint = f"Write `{here}=`."
    elif sign == "<" and here == ">":
        hint = "Write inequality as `!=`."
    elif here == "":
        hint = f'{_short(key)}=* matches if it is present, {_short(key)}="" if it is the empty string.'
    elif here == "(":
        hint = f"Write several values as {_short(key)} in (a, b)."
    else:
        hint = "Quote values with characters other than letters, digits and _-,./*@+:%#."
    return _mistake(text, position, f"a value after `{sign}`", hint)


def not_an_item(text: str, position: int) -> ExpressionError:
    """The error where a value of `in (…)`, or what may follow it, cannot be read."""
    start = _past("", text, position)
    here = text[start : start + 1]
    value = _match(rf"{ITEM}|{QUOTED}", text, start)
    if value:
        end = _past("", text, value.end())
        hint = "Quote values with blanks or other characters, and separate values by commas."
        return _mistake(text, end, "`,` or `)`", hint if end < len(text) else "")
    if here in {'"', "'"}:
        return _unclosed_quote(text, start)
    hint = ""
    if here in {")", ","}:
        empty = text[:start].rstrip().endswith("(")
        hint = "`in` needs at least one value." if empty else "Put exactly one comma between two values."
    elif here:
        hint = "Quote values with characters other than letters, digits and _-./*@+:%#."
    return _mistake(text, start, "a value", hint)


def not_a_continuation(text: str, position: int, nested: bool = False) -> ExpressionError:
    """The error where an operand is followed by what cannot continue or end the text (or the parentheses: `nested`)."""
    start = _past("", text, position)
    here = text[start : start + 1]
    glued = start == position and start > 0 and text[start - 1] not in "\"')"
    if here == ")":
        return _mistake(text, start, "`and`, `or` or the end", "No parenthesis is open here.")
    if _match(r"(?i:and|or)(?=[A-Za-z0-9_$]|[^\x00-\x9f\s])", text, start):
        hint = "Put a blank after `and` and `or`."
    elif _match(NOT, text, start):
        hint = "Write `and not` or `or not`."
    elif _habit(here):
        hint = _habit(here)
    elif here in {'"', "'"} and start == position:
        hint = "To use a quote inside a value, put the other kind of quotes around the value."
    elif glued or re.match(BARE, here):
        hint = "Quote values with blanks or characters other than letters, digits and _-,./*@+:%#."
    else:
        hint = ""
    return _mistake(text, start, "`and`, `or` or `)`" if nested else "`and`, `or` or the end", hint)


def unclosed(text: str) -> ExpressionError:
    """The error where the text ends inside parentheses."""
    return _mistake(text, len(text), "`and`, `or` or `)`", "A parenthesis was opened and not closed.")


def _unclosed_quote(text: str, position: int) -> ExpressionError:
    quote = text[position]
    hint = f"The closing {quote} is missing."
    if "\\" in text[position:] or quote * 2 in text[position + 1 :]:
        hint += " A doubled quote and a quote after a backslash belong to the value and do not close it."
    return _mistake(text, position, "a value in quotes that are closed", hint)


def _mistake(text: str, position: int, expected: str, hint: str, message: str = "") -> ExpressionError:
    if not message:
        here = _match(r"\w+|.", text, position)
        message = f"Cannot read {_short(here[0])!r}." if here else "The subscription is incomplete."
    return ExpressionError(message, text, position, expected, hint)


def _habit(here: str) -> str:
    return next((hint for sign, hint in _HABITS if sign == here), "")


def _match(pattern: str, text: str, position: int) -> re.Match[str] | None:
    return re.compile(pattern, re.DOTALL).match(text, position)


def _past(pattern: str, text: str, position: int) -> int:
    """The position after a token and the white space that follows it."""
    match = re.compile(rf"(?:{pattern})\s*").match(text, position)
    return match.end() if match else position


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
