"""Propose values that conditions on one path may accept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, pairwise, product
from math import inf, nextafter
from typing import Any, TypeAlias

from rxhub.expression import Condition, Dialect
from rxhub.expression.comparisons import CONSTANTS, comparison_of, operand_of, parse_number

__all__ = ["Constraint", "Pick", "is_for_all", "pick_simplest", "propose"]

Constraint: TypeAlias = tuple[Condition, bool]
"""A condition, and whether it must hold."""

Pick: TypeAlias = Callable[[int], int]
"""Chooses an index below a number; 0 is the simplest choice."""

_WORDS = ("", "wip", "shot010", "v001", "maya_2025", ".local", "é", "0", " ")
_MAX_EXACT = 2**53  # up to this number, floats represent every integer
_MAX_STEP = 1_000


def pick_simplest(_: int) -> int:
    """Pick index 0."""
    return 0


def is_for_all(constraint: Constraint) -> bool:
    """Whether a constraint applies to all values at its path; otherwise one value must meet it."""
    condition, wanted = constraint
    return wanted is comparison_of(condition.operator, condition.value, condition.dialect).negated


def propose(constraints: Sequence[Constraint], pick: Pick) -> Iterator[Any]:
    """Propose JSON values other than lists; the caller tests them.

    Values of the kind that the first condition suggests come first: 10 before "10" for `n=10`.
    """
    conditions = [condition for condition, _ in sorted(constraints, key=lambda constraint: not constraint[1])]
    positive = [condition for condition, wanted in constraints if wanted and not is_for_all((condition, wanted))]
    numbers, texts, others = _numbers(conditions, pick), _texts(conditions, positive, pick), _others(conditions)
    leading = conditions[0]
    if leading.quoted or (leading.value not in CONSTANTS and parse_number(leading.value) is None):
        kinds = [texts, numbers, others]
    else:
        kinds = [others, texts, numbers] if leading.value in CONSTANTS else [numbers, texts, others]
    return chain.from_iterable(kinds[1:] + kinds[:1] if pick(4) == 3 else kinds)


def _numbers(conditions: Iterable[Condition], pick: Pick) -> Iterator[int | float]:
    """The numbers in the conditions, numbers near them, and numbers between them."""
    denoted = dict.fromkeys(parse_number(condition.value) for condition in conditions if not condition.quoted)
    numbers = [number for number in denoted if number is not None]
    step = 1 + pick(_MAX_STEP)
    for number in numbers:
        yield from (number, number + step, number - step)
    exact = sorted(number for number in numbers if abs(number) <= _MAX_EXACT)
    for low, high in pairwise(exact):
        middle = (low + high) / 2
        yield from (int(middle), int(middle) + 1, middle)
    for number in numbers:
        yield from (number + 1, number - 1)
    for number in exact:
        yield from (number + 0.5, number - 0.5, nextafter(number, inf), nextafter(number, -inf))
    yield from (0, len(numbers) + 1)


def _texts(conditions: Iterable[Condition], positive: Iterable[Condition], pick: Pick) -> Iterator[str]:
    """Strings: the literals; and a prefix, the required substrings and a suffix, with fillers between them."""
    heads, tails, parts = [""], [""], dict[str, None]()
    for condition in positive:
        text = condition.value
        if condition.operator != "=":
            continue
        if condition.dialect is Dialect.FTRACK:
            if text.endswith("*"):
                parts[text[:-1]] = None
        elif text[:1] == text[-1:] == "*":
            parts[text[1:-1]] = None
        elif text.endswith("*"):
            heads.append(text[:-1])
        elif text.startswith("*"):
            tails.append(text[1:])
    literals = [condition.value for condition in conditions]
    head, tail = max(heads, key=len), max(tails, key=len)
    if not (head or tail or parts):
        yield from (text for text in literals if "*" not in {text[:1], text[-1:]})
    unused = next(c for c in map(chr, range(ord("a"), 0x110000)) if not any(c in text for text in literals))
    fillers = (_WORDS[pick(len(_WORDS))], *_WORDS, "!", "~", unused)
    # What sorts just before or after a literal starts with it, with its beginning, or with a lower last character.
    near = [text[:-1] for text in literals]
    near += [text[:-1] + chr(ord(text[-1]) - 1) for text in literals if text and 0 < ord(text[-1]) <= 0xD800]
    for start, filler in product((head, *heads, *literals, *near), fillers):
        text = start + filler
        for part in parts:
            if part not in text and part not in tail:
                text += part + filler
        # The text may already end with the beginning of the suffix: `ab*` and `*ba` accept "aba".
        overlap = next(size for size in range(len(tail), -1, -1) if text.endswith(tail[:size]))
        yield text + tail[overlap:]
        yield text + tail


def _others(conditions: Sequence[Condition]) -> Iterator[Any]:
    literals = [condition.value for condition in conditions]
    yield from (CONSTANTS[text] for text in literals if text in CONSTANTS)
    yield from (True, False, None, {})
    yield from ({text.rstrip("*"): 0} for text in literals)
    for condition in conditions:
        comparison = comparison_of(condition.operator, condition.value, condition.dialect)
        yield from comparison.example_values(operand_of(comparison, condition.value, condition.quoted))
