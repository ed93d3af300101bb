"""Finding the words for a text that is no subscription: what stood there, what could have, and the usual remedy.

Nothing here is on the way of a text that can be read. Each function gets the text and the place behind the last word
that was read, and gives back the error to raise.
"""

from __future__ import annotations

import re

from rxhub.errors import ExpressionError
from rxhub.expression.comparisons import OPERATORS
from rxhub.expression.tokens import BARE, IN, ITEM, KEY, NOT, OPERATOR, QUOTED

__all__ = ["not_a_sequel", "not_an_item", "not_an_operand", "unclosed"]

_CONDITION = "a condition such as topic=ftrack.update"
_KEYWORD = r"(?i:and|or|in|not)(?![A-Za-z0-9_$.\-]|[^\x00-\x9f\s])"

# What people write out of habit from other languages, at the place where reading stopped.
_HABITS = (
    ("&", "Write `and`."),
    ("|", "Write `or`."),
    ("!", "Write `not` before a condition; `!=` stands between a key and a value."),
    (";", "Join conditions with `and` or `or`."),
    (",", "Join conditions with `and` or `or`; commas stand only inside `in (…)`."),
)

# The operators of other languages that are words, after a key.
_FOREIGN = (
    (r"contains|has", "Lists are walked through: `{key}=value` holds if any of the items is the value."),
    (r"like|matches|startswith|starts", "A prefix is a value that ends in `*`: `{key}=value*`."),
    (r"is|eq|equals", "Equality is written `{key}=value`; `not {key}=*` asks whether it is missing or null."),
)


def not_an_operand(text: str, position: int) -> ExpressionError:
    """No condition, `not` or parenthesis can be read here."""
    start = _past(r"", text, position)
    after_key = _past(KEY, text, start)
    if after_key == start:
        return _no_key(text, start)
    found = _match(_KEYWORD, text, start)
    if found and not re.compile(rf"\s*(?:{OPERATOR})").match(text, found.end()):
        return _mistake(text, start, _CONDITION, "", f"The keyword `{found[0]}` stands where a condition should.")
    key = text[start:after_key].rstrip()
    operator = _match(OPERATOR, text, after_key)
    if operator:
        return _no_value(text, key, operator)
    membership = _match(IN, text, after_key)
    if membership:
        hint = f"The values of `in` stand in parentheses: {_short(key)} in (a, b)."
        return _mistake(text, _past("", text, membership.end()), "`(`", hint)
    return _no_operator(text, key, after_key)


def _no_key(text: str, position: int) -> ExpressionError:
    here = text[position : position + 1]
    hint = ""
    if here in {'"', "'"}:
        hint = "A key stands without quotes; only values may be quoted."
    elif here == ")":
        hint = "Parentheses hold a condition at least." if text[:position].rstrip().endswith("(") else ""
    elif here == "*":
        hint = "To match everything, subscribe to the empty text."
    return _mistake(text, position, f"{_CONDITION}, `not` or `(`", hint or _habit(here))


def _no_operator(text: str, key: str, position: int) -> ExpressionError:
    here = text[position : position + 1]
    shown = _short(key)
    negated = _match(r"(?i:not)\s+(?i:in)\b", text, position)
    if negated:
        hint = f"Write not {shown} in (…)."
    elif re.compile(r"!\s+=").match(text, position):
        hint = "No blank inside an operator: `!=`."
    elif here in {":", "~"}:
        hint = "Equality is written `=`; a prefix is a value that ends in `*`."
    elif here in {"", ")"} or _match(r"(?i:and|or)\b", text, position):
        topic = f", and topic={shown} picks a topic" if "." in key else ""
        hint = f"A key alone says nothing; {shown}=* asks whether it is there{topic}."
    elif here == "*":
        hint = f"Topics that begin so are picked by topic={shown}*."
    else:
        words = (hint.format(key=shown) for word, hint in _FOREIGN if _match(rf"(?i:{word})\b", text, position))
        hint = next(words, "") or _habit(here)
    return _mistake(text, position, f"an operator ({' '.join(OPERATORS)}) or `in (…)` after the key {shown}", hint)


def _no_value(text: str, key: str, operator: re.Match[str]) -> ExpressionError:
    position = _past("", text, operator.end())
    here = text[position : position + 1]
    sign, blank = operator[0], position > operator.end()
    if here in {'"', "'"}:
        return _unclosed_quote(text, position)
    if here == "=" and sign in {"<", ">"} and blank:
        hint = f"No blank inside an operator: `{sign}=`."
    elif here == "=":
        hint = f"Equality is written with one sign: {_short(key)}=value."
    elif sign == "=" and here in {"<", ">"}:
        hint = f"Write `{here}=`."
    elif sign == "<" and here == ">":
        hint = "Inequality is written `!=`."
    elif here == "":
        hint = f'{_short(key)}=* asks whether it is there, {_short(key)}="" for the empty text.'
    elif here == "(":
        hint = f"Several values are written {_short(key)} in (a, b)."
    else:
        hint = "A value with other characters than letters, digits and _-,./*@+:%# stands in quotes."
    return _mistake(text, position, f"a value after `{sign}`", hint)


def not_an_item(text: str, position: int) -> ExpressionError:
    """No value of an `in (…)` can be read here, or nothing that could follow one."""
    start = _past("", text, position)
    here = text[start : start + 1]
    value = _match(rf"{ITEM}|{QUOTED}", text, start)
    if value:
        end = _past("", text, value.end())
        hint = "A value with blanks or other characters stands in quotes; values are separated by commas."
        return _mistake(text, end, "`,` or `)`", hint if end < len(text) else "")
    if here in {'"', "'"}:
        return _unclosed_quote(text, start)
    hint = ""
    if here in {")", ","}:
        empty = text[:start].rstrip().endswith("(")
        hint = "`in` takes one value at least." if empty else "Exactly one comma stands between two values."
    elif here:
        hint = "A value with other characters than letters, digits and _-./*@+:%# stands in quotes."
    return _mistake(text, start, "a value", hint)


def not_a_sequel(text: str, position: int, nested: bool = False) -> ExpressionError:
    """Behind an operand stands what can neither continue nor end the text, or the parentheses if it is `nested`."""
    start = _past("", text, position)
    here = text[start : start + 1]
    glued = start == position and start > 0 and text[start - 1] not in "\"')"
    if here == ")":
        return _mistake(text, start, "`and`, `or` or the end", "No parenthesis is open here.")
    if _match(r"(?i:and|or)(?=[A-Za-z0-9_$]|[^\x00-\x9f\s])", text, start):
        hint = "If this is `and` or `or`, a blank has to follow it."
    elif _match(NOT, text, start):
        hint = "Write `and not` or `or not`."
    elif _habit(here):
        hint = _habit(here)
    elif here in {'"', "'"} and start == position:
        hint = "A quote inside a value needs the other kind of quotes around it."
    elif glued or re.match(BARE, here):
        hint = "A value with blanks or other characters than letters, digits and _-,./*@+:%# stands in quotes."
    else:
        hint = ""
    return _mistake(text, start, "`and`, `or` or `)`" if nested else "`and`, `or` or the end", hint)


def unclosed(text: str) -> ExpressionError:
    """The text ends inside parentheses."""
    return _mistake(text, len(text), "`and`, `or` or `)`", "A parenthesis was opened and not closed.")


def _unclosed_quote(text: str, position: int) -> ExpressionError:
    quote = text[position]
    hint = f"The closing {quote} is missing."
    if "\\" in text[position:] or quote * 2 in text[position + 1 :]:
        hint += " A doubled quote and a quote behind a backslash belong to the text and do not close it."
    return _mistake(text, position, "a value in quotes that are closed", hint)


def _mistake(text: str, position: int, expected: str, hint: str, message: str = "") -> ExpressionError:
    if not message:
        here = _match(r"\w+|.", text, position)
        message = f"Cannot read {_short(here[0])!r}." if here else "The subscription ends too early."
    return ExpressionError(message, text, position, expected, hint)


def _habit(here: str) -> str:
    return next((hint for sign, hint in _HABITS if sign == here), "")


def _match(pattern: str, text: str, position: int) -> re.Match[str] | None:
    return re.compile(pattern, re.DOTALL).match(text, position)


def _past(pattern: str, text: str, position: int) -> int:
    """The place behind a word and the white space after it."""
    match = re.compile(rf"(?:{pattern})\s*").match(text, position)
    return match.end() if match else position


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
