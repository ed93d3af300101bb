"""ftrack's own client is the judge: what it reads we read alike, and what it answers we answer in its dialect.

The tests leave out the intended differences (docs/reference/ftrack-differences.md) and texts on which its parser takes
exponential time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ftrack_api.event import expression as theirs
from ftrack_api.exception import ParseError
from hypothesis import assume, given
from hypothesis import strategies as st

from rxhub.expression import And, Condition, Dialect, Expression, Not, Or, compile, parse

EXPRESSIONS = (Path(__file__).parent.parent / "data" / "expressions.txt").read_text(encoding="utf-8").splitlines()

their = theirs.Parser()

KEYS = ["topic", "a", "b.c", "a.b", ".a", "not", "and", "in", "notes", "9"]
WORDS = ["a", "ab", "ftrack.update", "and", "x@y", "a,b", "-1+2", "/x/"]
WILDCARDS = ["*", "**", "a*", "*a", "ab*", "*b*", "a*b", "ftrack.*"]
NUMERALS = ["10", "9.5", "007", "true", "null"]
QUOTED = ['"a b"', "'a'", '"ab*"', "'it''s'", '"\\"x"', "'say \"x\"'", '"a\\nb"', "'('"]


def outline(tree: Expression | theirs.Expression) -> tuple[Any, ...]:
    """A tree of either side as plain tuples."""
    match tree:
        case And(children):
            return ("and", *map(outline, children))
        case Or(children):
            return ("or", *map(outline, children))
        case Not(child):
            return ("not", outline(child))
        case Condition(key, operator, value):
            return (key, operator, value)
        case theirs.All():
            return ("and", *map(outline, tree._expressions))
        case theirs.Any():
            return ("or", *map(outline, tree._expressions))
        case theirs.Not():
            return ("not", outline(tree._expression))
    return (tree._key, tree._operatorMapping[tree._operator], tree._value)


def conditions(values: list[str]) -> st.SearchStrategy[str]:
    blanks = st.sampled_from(["", " "])
    parts = st.sampled_from(KEYS), blanks, st.sampled_from(["=", "=", "!=", ">=", "<"]), blanks, st.sampled_from(values)
    return st.tuples(*parts).map("".join)


def texts(values: list[str]) -> st.SearchStrategy[str]:
    """Subscriptions with parentheses two deep at most: each level takes their parser several times as long."""
    flat = st.lists(
        st.tuples(st.sampled_from(["", "", "not ", "NOT  "]), conditions(values)).map("".join), min_size=1, max_size=3
    )
    joined = st.tuples(flat, st.sampled_from([" and ", " or ", "\nAND\t", " Or "])).map(
        lambda pair: pair[1].join(pair[0])
    )
    inner = st.tuples(st.sampled_from(["", "not "]), joined).map(lambda pair: f"{pair[0]}({pair[1]})")
    outer = st.lists(joined | inner, min_size=1, max_size=2)
    return st.tuples(outer, st.sampled_from([" and ", " or "])).map(lambda pair: pair[1].join(pair[0]))


TOKENS = [
    "a",
    "b.c",
    "a",
    "=",
    "=",
    "!=",
    ">",
    "not",
    "and",
    "or",
    "in",
    "(",
    ")",
    "x",
    "'y'",
    '"',
    "'",
    '""',
    "\\",
    "*",
    ".",
]
tokens = st.tuples(st.lists(st.sampled_from(TOKENS), max_size=9), st.sampled_from(["", " "]))


class TestTheTree:
    @pytest.mark.parametrize("text", EXPRESSIONS)
    def test_of_what_is_written_in_the_wild_is_theirs(self, text):
        assert outline(parse(text)) == outline(their.parse(text))

    @given(texts(WORDS + WILDCARDS + NUMERALS + QUOTED))
    def test_is_theirs(self, text):
        assert outline(parse(text)) == outline(their.parse(text))

    @given(tokens)
    def test_is_theirs_for_whatever_they_accept(self, given):
        words, blank = given
        text = blank.join(words)
        assume(text.strip() and text.count("(") < 3)
        try:
            tree = their.parse(text)
        except ParseError:
            return
        assert outline(parse(text)) == outline(tree)

    @pytest.mark.parametrize(
        "text",
        [
            'a="x""y"',
            'a=""""',
            "a='it''s'",
            r'a="\""',
            r'a="\x41"',
            "not.x=1",
            "not not=1",
            "not in=5",
            "and=1 and and=2",
        ],
    )
    def test_is_theirs_where_that_is_surprising(self, text):
        assert outline(parse(text)) == outline(their.parse(text))


def answer(text: str, candidate: object) -> bool:
    """What their client answers; an example in which it raises says nothing."""
    try:
        return their.parse(text).match(candidate)
    except Exception:
        assume(False)
        raise


def trees_of(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    keys = st.sampled_from(["topic", "a", "b", "c", "", "not", "in", "9"])
    return st.dictionaries(keys, st.recursive(leaves, lambda values: st.dictionaries(keys, values, max_size=4)))


strings = st.sampled_from(["a", "ab", "xab", "10", "9.5", "true", "ftrack.update", "a b", "it''s", ""])


class TestTheAnswer:
    @given(texts(WORDS + WILDCARDS + NUMERALS + QUOTED), trees_of(strings))
    def test_is_theirs_for_texts_in_mappings(self, text, candidate):
        expected = answer(text, candidate)

        assert parse(text, Dialect.FTRACK).matches(candidate) is expected
        assert compile(text, Dialect.FTRACK)(candidate) is expected

    @given(texts(WORDS + WILDCARDS + QUOTED), trees_of(strings | st.none() | st.booleans() | st.integers(0, 10)))
    def test_is_theirs_for_other_values_as_long_as_no_literal_denotes_one(self, text, candidate):
        expected = answer(text, candidate)

        assert compile(text, Dialect.FTRACK)(candidate) is expected

    @given(st.sampled_from(WILDCARDS), st.lists(strings, max_size=3) | st.lists(strings, max_size=3).map(tuple))
    def test_is_theirs_for_a_trailing_star_and_a_list(self, literal, values):
        assume(literal[-1] == "*")
        expected = answer(f"a={literal}", {"a": values})

        assert compile(f"a={literal}", Dialect.FTRACK)({"a": values}) is expected


class TestTheDifferences:
    """Each is a line of docs/reference/ftrack-differences.md."""

    @pytest.mark.parametrize(
        ("text", "candidate", "theirs", "ours"),
        [
            ("a=10", {"a": 10}, False, True),
            ("a=true", {"a": True}, False, True),
            ("a=null", {"a": None}, False, True),
            ("a>=5", {"a": 7}, TypeError, True),
            ("a=x*", {"a": None}, TypeError, False),
            ("a=x*", {"a": 5}, TypeError, False),
            ('a=""', {"a": ""}, IndexError, True),
            ("a=x", {"a": ["x"]}, False, True),
            ("a!=x", {"a": ["x"]}, True, False),
            ("a!=x", {"a": []}, True, False),
            ("a.b=x", {"a": [{"b": "x"}]}, False, True),
            ("a.b=x", [{"a": {"b": "x"}}], False, True),
        ],
    )
    def test_hold_in_both_dialects(self, text, candidate, theirs, ours):
        tree = their.parse(text)
        if isinstance(theirs, bool):
            assert tree.match(candidate) is theirs
        else:
            with pytest.raises(theirs):
                tree.match(candidate)
        for dialect in Dialect:
            assert compile(text, dialect)(candidate) is ours

    @pytest.mark.parametrize(
        ("text", "candidate", "theirs", "ours"),
        [
            ("a=track*", {"a": "ftrack"}, True, False),
            ("a=*ck", {"a": "ftrack"}, False, True),
            ("a=*ra*", {"a": "ftrack"}, False, True),
            ("a=*", {"a": 5}, TypeError, True),
            ("a=x*", {"a": {"x": 1}}, True, False),
        ],
    )
    def test_of_wildcards_hold_in_our_dialect_alone(self, text, candidate, theirs, ours):
        tree = their.parse(text)
        if isinstance(theirs, bool):
            assert tree.match(candidate) is theirs
        assert compile(text, Dialect.FTRACK)(candidate) is (theirs is True)
        assert compile(text)(candidate) is ours

    @pytest.mark.parametrize("text", ["", "a=x:y", "a=50%", "a=#1", "a=é", "é=a", "a-b=1", "a in (1, 2)", 'a="x\ny"'])
    def test_of_what_they_cannot_read(self, text):
        with pytest.raises((ParseError, AttributeError)):
            their.parse(text)
        assert parse(text, Dialect.FTRACK) is not None

    def test_a_tab_in_quotes_stays(self):
        assert their.parse('a="x\ty"')._value != "x\ty"
        assert parse('a="x\ty"').value == "x\ty"
