from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxhub.errors import ExpressionError
from rxhub.event import Event
from rxhub.expression import And, Condition, Dialect, Not, Or, compile, parse
from rxhub.expression.compiler import _template, compile_tree
from tests.expression.strategies import (
    KEYS,
    ODDITIES,
    Growing,
    HostileClass,
    HostileKey,
    any_candidates,
    any_trees,
    conditions,
    dialects,
    plain_candidates,
    plain_values,
)

DATA = Path(__file__).parent.parent / "data"
EVENTS = [json.loads(line) for line in (DATA / "events.jsonl").read_text(encoding="utf-8").splitlines()]
EXPRESSIONS = (DATA / "expressions.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture(
    scope="module", params=[True, False], ids=["constants in the code", "constants in a closure"], autouse=True
)
def in_code(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Both forms on every interpreter, whichever it uses by itself."""
    with patch("rxhub.expression.compiler._IN_CODE", request.param):
        yield request.param


class TestACompiledExpression:
    @given(any_trees, any_candidates)
    def test_answers_as_its_tree_does(self, tree, candidate):
        assert compile(tree)(candidate) is tree.matches(candidate)

    @given(dialects.flatmap(conditions), plain_candidates)
    @example(Condition("a", "!=", "1"), {"a": True})
    @example(Condition("a", "!=", "true"), {"a": 1})
    @example(Condition("a", "!=", "0"), {"a": float("nan")})
    @example(Condition("a.b", "=", "null"), {"a": {"b": None}})
    @example(Condition("a.b", "=", "null"), {"a": {}})
    @example(Condition("a.b", "=", "*"), {"a": {}})
    @example(Condition("a", "=", "a"), {HostileKey("a"): "a"})
    def test_answers_a_single_condition_as_the_condition_does(self, condition, candidate):
        assert compile(condition)(candidate) is condition.matches(candidate)

    @pytest.mark.parametrize("number", range(len(ODDITIES)))
    def test_answers_alike_of_what_nobody_would_wish_for(self, number):
        texts = ["a=a", "a!=a", "a>9", "a<9", "a=10", "a!=10", "a=*", "a=**", "a=a*", "a=null", "a!=null", "a=true"]
        for text in [*texts, "a.b=a", "a.b!=a", "a.b=*", "a.a.a=10", "not a.b=a or b=1"]:
            for dialect in Dialect:
                tree = parse(text, dialect)
                value = ODDITIES[number]()
                for candidate in ({"a": value}, value, {"a": [value, {"b": value}]}, {"a": {"b": value, "a": value}}):
                    assert compile(tree)(candidate) is tree.matches(candidate), (text, dialect, candidate)

    @given(
        dialects.flatmap(lambda dialect: st.lists(conditions(dialect), min_size=2, max_size=3)),
        st.dictionaries(
            st.sampled_from(KEYS), plain_values | st.dictionaries(st.sampled_from(KEYS), plain_values), min_size=8
        ),
    )
    @example([Condition("not", "!=", "a"), Condition(".a", "=", "a*")], {"not": {"a": "a"}, "a": "b"})
    def test_takes_nothing_from_one_condition_into_the_next(self, parts, candidate):
        for tree in (And(parts), Or(parts), Not(And(parts))):
            assert compile(tree)(candidate) is tree.matches(candidate)

    @given(dialects.flatmap(conditions), plain_values)
    def test_asks_the_condition_itself_for_nothing_that_is_plain(self, condition, value):
        candidate = value
        for step in reversed(condition.key.split(".")):
            candidate = {step: candidate}
        expected = condition.matches(candidate)

        with patch("rxhub.expression.ast.holds", side_effect=AssertionError):
            assert compile(condition)(candidate) is expected

    def test_answers_alike_of_real_events(self):
        for text in EXPRESSIONS:
            tree = parse(text)
            matches = compile(tree)
            assert [matches(event) for event in EVENTS] == [tree.matches(event) for event in EVENTS]

    def test_survives_what_does_not_say_what_it_is(self):
        for text in ("a=1", "a!=1", "a.b=1", "a=*"):
            for candidate in (HostileClass(), {"a": HostileClass()}, {"a": {"b": HostileClass()}}):
                assert compile(text)(candidate) is parse(text).matches(candidate)

    @pytest.mark.parametrize("make", [lambda: defaultdict(lambda: "a"), Growing])
    def test_makes_no_mapping_grow(self, make):
        for text in ("b=a", "a.b=a", "a.b.c!=x"):
            holder = make()

            assert not compile(text)(holder)
            assert not compile(text)({"a": holder})
            assert len(holder) == 0

    def test_reads_events_without_making_their_id(self):
        event = Event("ftrack.update", data={"n": 1})

        assert compile("topic=ftrack.update and data.n=1")(event) is True
        assert compile("topic=other or not data.n=1")(event) is False
        assert event._fields["id"] is None

    def test_reads_the_id_of_an_event_that_has_none_yet(self):
        for text in ("id=*", "topic=x and not id=null", "id!=x", "id=**"):
            assert compile(text)(Event("x")) is True

    def test_reads_events_of_a_class_of_their_own(self):
        class Own(Event):
            pass

        assert compile("data.n=1 and id=*")(Own("x", data={"n": 1})) is True

    def test_is_its_tree_if_that_is_very_large(self):
        wide = Or(tuple(Condition(f"a{number}", "=", str(number)) for number in range(500)))
        deep = parse("not " * 40 + "a=1")

        assert compile(wide)({"a499": 499}) is True
        assert compile(wide)({"a499": 498}) is False
        assert compile(deep)({"a": 1}) is True

    def test_of_the_empty_subscription_always_matches(self):
        assert compile("")(None) is True


class TestCompiling:
    def test_takes_a_text_in_either_dialect_or_a_tree(self):
        candidate = {"a": "xab"}

        assert not compile("a=ab*")(candidate)
        assert compile("a=ab*", Dialect.FTRACK)(candidate)
        assert compile(parse("a=ab*", Dialect.FTRACK))(candidate)

    def test_refuses_what_is_no_subscription(self):
        with pytest.raises(ExpressionError):
            compile("a=")
        with pytest.raises(ExpressionError):
            compile(5)

    def test_puts_no_object_into_code_but_strings_and_numbers(self, in_code):
        texts = [*EXPRESSIONS, "a=1 and b.c!=x*y or not id=2.5", "a>=1 or a<b or a=null or a='*'"]
        for matches in [compile(text) for text in texts]:
            code = getattr(matches, "__code__", None)  # a tree is its own function for the empty subscription
            if code is not None and code.co_filename == "<subscription>":
                assert {type(constant) for constant in code.co_consts} <= {str, int, float, bool, type(None)}
                assert in_code or not {"@", "ftrack.update"} & {*map(str, code.co_consts)}

    def test_keeps_the_constants_of_one_expression_apart_from_those_of_another(self):
        made = [compile(f"data.user.name={name} and n>{number}") for number, name in enumerate("abcdef")]
        candidates = [{"data": {"user": {"name": name}}, "n": number + 1} for number, name in enumerate("abcdef")]

        answers = [[matches(candidate) for candidate in candidates] for matches in made]

        assert answers == [[row == column for column in range(6)] for row in range(6)]

    def test_compiles_a_shape_once(self):
        compile_tree(parse("shape.of.this=1 and (test=x or not only=y*)"))
        before = _template.cache_info().misses

        for number in range(20):
            compile_tree(parse(f"k{number}.a.b={number} and (c{number}=d or not e=f{number}*)"))

        assert _template.cache_info().misses == before
        assert _template.cache_info().maxsize is not None

    def test_tells_apart_what_python_holds_equal(self):
        values = [1, 1.0, True, "1", "1.0", "true"]

        answers = {
            text: [compile(f"a={text}")({"a": value}) for value in values] for text in ("1", "1.0", "true", "'1'")
        }

        assert answers == {
            "1": [True, True, False, True, False, False],
            "1.0": [True, True, False, False, True, False],
            "true": [False, False, True, False, False, True],
            "'1'": [False, False, False, True, False, False],
        }

    @pytest.mark.parametrize("text", ["@0", "{0}", "{value}", "'", '"', "\n", "'@1'", "%s", "\\\\"])
    def test_lets_no_text_into_the_source(self, text):
        condition = Condition("a", "=", text, quoted=True)

        assert compile(condition)({"a": text}) is True
        assert compile(condition)({"a": "@1"}) is (text == "@1")
