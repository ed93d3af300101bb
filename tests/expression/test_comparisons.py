"""The table of comparisons: every row is complete and means the same to the evaluator, the compiler and the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.expression import Condition, Dialect, Index, compile, parse
from rxhub.expression.comparisons import OPERATORS, comparison_of, operand_of
from tests.expression.strategies import NUMBERS, TEXTS, WILDCARDS, dialects

literals = st.sampled_from([*TEXTS, *WILDCARDS, *NUMBERS])


@pytest.mark.parametrize("operator", OPERATORS)
@given(literal=literals, quoted=st.booleans(), dialect=dialects)
def test_the_examples_of_a_comparison_meet_it(operator: str, literal: str, quoted: bool, dialect: Dialect) -> None:
    condition = Condition("key", operator, literal, quoted, dialect)
    comparison = comparison_of(operator, literal, dialect)
    values = comparison.example_values(operand_of(comparison, literal, quoted))
    assert values
    index: Index[None] = Index()
    index.add(condition, None)
    for value in values:
        assert condition.matches({"key": value})
        assert compile(condition)({"key": value})
        assert index.match({"key": value})


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("text", ["key{}1", "key {} 1", "not key{}1", "not{}1", "in {} 1"])
def test_every_operator_can_be_parsed_and_written(operator: str, text: str) -> None:
    tree = parse(text.format(operator))
    assert parse(str(tree)) == tree


def test_the_language_page_names_every_operator() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "language.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith("| operator |")]
    assert re.findall(r"`(.+?)`", row) == list(OPERATORS)
