from __future__ import annotations

import sys
from collections import ChainMap, OrderedDict, UserDict, defaultdict
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from unittest.mock import ANY

import pytest
from hypothesis import given

from rxhub.event import Event
from rxhub.expression import Dialect, compile, parse
from rxhub.expression.comparisons import parse_number
from rxhub.expression.evaluate import values_at
from tests.expression.strategies import (
    EndlessList,
    Growing,
    Hostile,
    HostileClass,
    HostileKey,
    HostileLabel,
    HostileMapping,
    HostileNumber,
    Label,
    Pair,
    Proxy,
    Subscriptable,
    Truthless,
    Version,
    any_candidates,
    any_trees,
)

NAN = float("nan")


def holds(text: str, value: object, dialect: Dialect = Dialect.RXHUB) -> bool:
    """Whether a condition on `v` holds where `v` is `value`."""
    return parse(text, dialect).matches({"v": value})


def numbered(table):
    """Names of test cases: pytest itself would stumble over the values."""
    return [f"{number} {case[0]}" for number, case in enumerate(table)]


class TestAPath:
    @pytest.mark.parametrize(
        "holder",
        [
            {"b": 1},
            OrderedDict(b=1),
            defaultdict(int, b=1),
            UserDict(b=1),
            MappingProxyType({"b": 1}),
            ChainMap({}, {"b": 1}),
            Proxy({"b": 1}),
        ],
    )
    def test_enters_mappings(self, holder):
        assert parse("a.b=1").matches({"a": holder})
        assert parse("b=1").matches(holder)

    def test_enters_events_at_their_keys(self):
        event = Event("ftrack.update", data={"n": 1})

        assert parse("topic=ftrack.update and data.n=1").matches(event)
        assert parse("e.data.n=1").matches({"e": event})

    @pytest.mark.parametrize("holder", ["b", b"b", 1, None, True, {"b"}, Subscriptable(), iter(["b"]), dict, Hostile()])
    def test_has_no_step_in_anything_else(self, holder):
        for text in ("a.b=*", "a.b!=x", "a.b=a", "a.0=b"):
            assert not parse(text).matches({"a": holder})

    @pytest.mark.parametrize("holder", [HostileMapping(), {HostileKey("b"): 1}])
    def test_is_missing_where_a_mapping_raises(self, holder):
        assert not parse("a.b=*").matches({"a": holder})
        assert not parse("a.b!=x").matches({"a": holder})

    @pytest.mark.parametrize("make", [lambda: defaultdict(lambda: "a"), Growing])
    def test_makes_no_mapping_grow(self, make):
        holder = make()

        assert not parse("a.b=*").matches({"a": holder})
        assert not parse("b=*").matches(holder)
        assert len(holder) == 0

    def test_may_have_empty_steps(self):
        assert parse(".a=1").matches({"": {"a": 1}})
        assert parse("a..b=1").matches({"a": {"": {"b": 1}}})

    @pytest.mark.parametrize("operator", ["=", "!=", ">=", "<=", ">", "<"])
    def test_that_is_missing_makes_a_condition_false(self, operator):
        for candidate in ({}, {"a": {}}, {"a": {"b": {}}}, [], None, "a", 5):
            assert not parse(f"a.b.c{operator}1").matches(candidate)
            assert parse(f"not a.b.c{operator}1").matches(candidate)

    def test_takes_only_text_keys(self):
        assert not parse("1=*").matches({1: "a", None: "b"})


class TestLists:
    @pytest.mark.parametrize(
        "value",
        [["x", "y"], ("x", "y"), [["y"], "x"], [[[("y",)]]], Pair("x", "y"), EndlessList(["x", "y"]), [{}, None, "y"]],
    )
    def test_hold_a_condition_if_any_value_does(self, value):
        assert holds("v=y", value)
        assert not holds("v=z", value)

    def test_are_walked_through_on_the_way_and_at_the_candidate_itself(self):
        update = {"data": {"entities": [{"type": "show"}, [{"type": "task"}]]}}

        assert parse("data.entities.type=task").matches(update)
        assert parse("data.entities.type=task").matches([5, (update,)])

    def test_have_no_indices(self):
        assert not parse("v.0=x").matches({"v": ["x"]})

    def test_choose_an_element_for_each_condition(self):
        candidate = {"v": [{"a": 1, "b": 1}, {"a": 2, "b": 2}]}

        assert parse("v.a=1 and v.b=2").matches(candidate)

    def test_hold_an_inequality_if_there_is_a_value_and_none_equals(self):
        assert holds("v!=z", ["x", "y"])
        assert not holds("v!=y", ["x", "y"])
        assert not holds("v!=z", [])
        assert not holds("v!=z", [[], ()])

    @pytest.mark.parametrize("text", ["v=*", "v=**", "v=x", "v!=x", "v>=0", "v=null"])
    def test_that_are_empty_make_every_condition_false(self, text):
        assert not holds(text, [])

    @pytest.mark.parametrize("value", [{"x"}, frozenset({"x"}), b"x", iter(["x"]), (item for item in "x"), range(1)])
    def test_are_no_other_containers(self, value):
        assert not holds("v=x", value)
        assert holds("v!=x", value)
        assert holds("v=*", value)

    def test_may_contain_themselves(self):
        ring = ["x"]
        ring.append(ring)
        loop = {"v": ring}
        loop["a"] = loop
        ring.append(loop)

        assert holds("v=x", ring)
        assert not holds("v=y", ring)
        assert parse("a.a.a.v.a.v=x").matches(loop)

    def test_may_be_ten_thousand_levels_deep(self):
        deep = "x"
        for _ in range(10_000):
            deep = [deep]
        chain = {}
        for _ in range(10_000):
            chain = {"a": chain}

        assert holds("v=x", deep)
        assert not holds("v.a=x", deep)
        assert parse(f"{'.'.join(['a'] * 10_000)}=*").matches(chain)
        assert not parse(f"{'.'.join(['a'] * 10_001)}=*").matches(chain)

    def test_are_visited_once_however_often_they_are_referred_to(self):
        shared = [{"a": "x"}]
        for _ in range(60):
            shared = [shared, shared, {"a": shared}]

        assert not parse("v.a=y").matches({"v": shared})
        assert sum(1 for _ in values_at({"v": shared}, ("v", "a"))) <= 200

    def test_that_a_mapping_makes_anew_are_each_visited(self):
        class Fresh(UserDict):
            def __getitem__(self, key):
                return [self.data[key]]

        assert holds("v.a=3", [Fresh(a=number) for number in range(4)])


BARE = [
    # a text is that text
    ("x", "x", True),
    ("x", "X", False),
    ("x", "xx", False),
    ("10", "10", True),
    ("10", "10.0", False),
    ("true", "true", True),
    ("null", "null", True),
    # a JSON number is also that number
    ("10", 10, True),
    ("10", 10.0, True),
    ("10", Decimal(10), True),
    ("10", Fraction(10), True),
    ("10.0", 10, True),
    ("1e1", 10, True),
    ("1E+1", 10, True),
    ("0.1", 0.1, True),
    ("0.1", Decimal("0.1"), False),
    ("0.5", Fraction(1, 2), True),
    ("-0", 0, True),
    ("0", -0.0, True),
    ("-1", -1, True),
    ("9007199254740993", 9007199254740993, True),
    ("9007199254740993", 9007199254740992.0, False),
    ("1" + "0" * 300, 10**300, True),
    ("10", 10 + 0j, False),
    ("10", "ten", False),
    ("10", HostileNumber(10), False),
    # and nothing else is
    ("007", 7, False),
    ("+5", 5, False),
    (".5", 0.5, False),
    ("5.", 5, False),
    ("0x10", 16, False),
    ("1_0", 10, False),
    ("NaN", NAN, False),
    ("Infinity", float("inf"), False),
    ("1e999", float("inf"), False),
    ("٣", 3, False),
    # names
    ("true", True, True),
    ("false", False, True),
    ("null", None, True),
    ("True", True, False),
    ("1", True, False),
    ("0", False, False),
    ("true", 1, False),
    ("null", False, False),
    ("null", 0, False),
    # NaN equals nothing
    ("nan", NAN, False),
    ("0", Decimal("NaN"), False),
    ("0", Decimal("sNaN"), False),
    # any other value by its own ==
    ("x", Label("X"), True),
    ("10", Label("10"), True),
    ("x", HostileLabel("x"), False),
    ("10.2", Version(10, 2), True),
    ("x", Version(10, 2), False),
    ("x", ANY, True),
    ("x", Proxy("x"), True),
    ("x", Hostile(), False),
    ("x", Truthless(), False),
    ("x", b"x", False),
    ("x", {"x": 1}, False),
]


class TestEquality:
    @pytest.mark.parametrize(("text", "value", "expected"), BARE, ids=numbered(BARE))
    def test_of_a_bare_value(self, text, value, expected):
        assert holds(f"v={text}", value) is expected
        assert holds(f"v in ({text})", value) is expected

    @pytest.mark.parametrize(("text", "value", "expected"), BARE, ids=numbered(BARE))
    def test_has_an_opposite_which_needs_a_value_that_can_be_compared(self, text, value, expected):
        comparable = type(value) not in {Hostile, Truthless, HostileLabel, HostileNumber}
        readable = not (type(value) is Version and text == "x")
        orderly = not (isinstance(value, Decimal) and value.is_snan())

        assert holds(f"v!={text}", value) is (not expected and comparable and readable and orderly)

    @pytest.mark.parametrize("value", [10, 10.0, True, None, Decimal(10), HostileNumber(10)])
    def test_of_a_quoted_value_is_that_of_texts_alone(self, value):
        for text in ("10", "true", "null"):
            assert not holds(f"v='{text}'", value)
            assert holds(f"v!='{text}'", value)
            assert holds(f"v='{text}'", text)

    def test_to_the_empty_text(self):
        assert holds("v=''", "")
        assert not holds("v=''", None)

    def test_is_false_for_all_values_if_one_cannot_be_told_to_differ(self):
        assert not holds("v!=x", ["y", Hostile()])
        assert holds("v=y", [Hostile(), "y"])

    def test_does_not_read_a_star_in_an_inequality(self):
        assert holds("v!=x*", "xy")
        assert not holds("v!=x*", "x*")
        assert not holds("v!=*", "*")


class TestANumeral:
    def test_is_exact_if_it_is_whole_and_else_the_nearest_double(self):
        assert parse_number("12345678901234567890") == 12345678901234567890
        assert type(parse_number("10")) is int
        assert type(parse_number("10.0")) is float
        assert parse_number("1e-400") == 0.0

    def test_has_at_most_4000_digits(self):
        assert parse_number("9" * 4_000) == 10**4_000 - 1
        assert parse_number("9" * 4_001) is None
        assert parse_number("0." + "9" * 4_000) is None
        assert parse_number("-" + "1" * 4_000) is not None

    def test_does_not_depend_on_how_many_digits_python_converts(self):
        before = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(640)
        try:
            assert parse_number("7" * 3_999) == 7 * (10**3_999 - 1) // 9
        finally:
            sys.set_int_max_str_digits(before)


ORDER = [
    ("v >= 10", 10, True),
    ("v > 10", 10, False),
    ("v < 10", 9.5, True),
    ("v <= 9.5", Fraction(19, 2), True),
    ("v > 9007199254740992.0", 9007199254740993, True),
    ("v >= 10", Decimal(11), True),
    ("v > 1", float("inf"), True),
    # a text against the text
    ("v < 9", "10", True),
    ("v >= b", "c", True),
    ("v >= '10'", "10", True),
    # what has no order with the literal
    ("v >= '10'", 11, False),
    ("v >= ten", 11, False),
    ("v >= 007", 11, False),
    ("v >= 0", True, False),
    ("v <= true", True, False),
    ("v >= null", None, False),
    ("v >= 0", NAN, False),
    ("v < 0", NAN, False),
    ("v >= 0", Decimal("NaN"), False),
    ("v >= 0", 1j, False),
    ("v >= a", b"b", False),
    ("v >= a", {"b": 1}, False),
    ("v >= a", Hostile(), False),
    ("v >= a", Truthless(), False),
    ("v >= 1", HostileNumber(5), False),
    # any other value in its own way, with the text
    ("v >= 9.2", Version(10), True),
    ("v < 9.2", Version(10), False),
    ("v >= x", Version(10), False),
    ("v >= 2021", Version(2021, 1), True),
    ("v < b", Label("a"), True),
    # any element
    ("v > 10", [5, "x", 11], True),
]


class TestOrder:
    @pytest.mark.parametrize(("text", "value", "expected"), ORDER, ids=numbered(ORDER))
    def test_of_a_value_and_a_literal(self, text, value, expected):
        assert holds(text, value) is expected


RXHUB = [
    ("v=ab*", "abc", True),
    ("v=ab*", "ab", True),
    ("v=ab*", "xab", False),
    ("v=*bc", "abc", True),
    ("v=*bc", "bcd", False),
    ("v=*b*", "abc", True),
    ("v=*b*", "xyz", False),
    ("v=a*c", "abc", False),
    ("v=a*c", "a*c", True),
    ("v=a**", "a*b", True),
    ("v=a**", "ab", False),
    ("v=***", "x*y", True),
    ("v=***", "xy", False),
    ("v='a b*'", "a bc", True),
    ("v in (x, ab*)", "abc", True),
    ("v=1*", "10", True),
    ("v=1*", 10, False),
    ("v=a*", Label("abc"), True),
    ("v=a*", HostileLabel("abc"), True),
    ("v=a*", Proxy("abc"), False),
    ("v=a*", b"abc", False),
    ("v=a*", ["x", "abc"], True),
    ("v=*", "", True),
    ("v=*", 0, True),
    ("v=*", False, True),
    ("v=*", {}, True),
    ("v=*", NAN, True),
    ("v=*", Hostile(), True),
    ("v=*", None, False),
    ("v=*", [None], False),
    ("v=*", [None, 0], True),
    ("v='*'", 0, True),
    ("v=**", "", True),
    ("v=**", Label("x"), True),
    ("v=**", 0, False),
    ("v=**", None, False),
    ("v=**", [1, "x"], True),
]


FTRACK = [
    ("v=ab*", "xabc", True),
    ("v=ab*", "x", False),
    ("v=*ab", "ab", False),
    ("v=*ab", "*ab", True),
    ("v=*ab*", "x*abc", True),
    ("v=*ab*", "ab", False),
    ("v=**", "x*y", True),
    ("v=**", "xy", False),
    ("v=*", "", True),
    ("v=*", None, False),
    ("v=*", 5, False),
    ("v=*", [""], True),
    ("v=*", ["x"], False),
    ("v=ab*", ["ab"], True),
    ("v=ab*", ["abc"], False),
    ("v=ab*", [["ab"]], False),
    ("v=ab*", ("ab",), True),
    ("v=ab*", {"ab": 1}, True),
    ("v=ab*", {"abc": 1}, False),
    ("v=ab*", {"ab"}, True),
    ("v=ab*", b"ab", False),
    ("v=ab*", iter(["ab"]), False),
    ("v=ab*", Hostile(), False),
    ("v=ab*", Truthless(), False),
    ("v=ab*", [Hostile(), "ab"], False),
    ("v in (ab*, c)", "xabc", True),
    ("v='a b*'", "xa bc", True),
]


class TestWildcards:
    @pytest.mark.parametrize(("text", "value", "expected"), RXHUB, ids=numbered(RXHUB))
    def test_of_rxhub(self, text, value, expected):
        assert holds(text, value) is expected

    @pytest.mark.parametrize(("text", "value", "expected"), FTRACK, ids=numbered(FTRACK))
    def test_of_ftrack(self, text, value, expected):
        assert holds(text, value, Dialect.FTRACK) is expected

    def test_of_ftrack_walk_through_lists_on_the_way(self):
        assert parse("v.k=ab*", Dialect.FTRACK).matches({"v": [{"k": "x"}, {"k": ["ab"]}]})

    def test_of_ftrack_leave_an_iterator_alone(self):
        def endless():
            while True:
                yield "x"

        values = iter(["x", "ab"])
        assert not holds("v=ab*", values, Dialect.FTRACK)
        assert list(values) == ["x", "ab"]
        assert not holds("v=ab*", endless(), Dialect.FTRACK)


class TestMatching:
    @given(any_trees, any_candidates)
    def test_never_raises(self, tree, candidate):
        assert tree.matches(candidate) in {True, False}

    def test_is_in_of_equalities(self):
        for value in ("a", "b", "c", 1, None, ["a", "c"]):
            for text in ("v in (a, 1)", "not v in (b, null)"):
                spelled = text.replace("v in (a, 1)", "v=a or v=1").replace("v in (b, null)", "(v=b or v=null)")
                assert holds(text, value) is holds(spelled, value)

    def test_of_everything_always_succeeds(self):
        for candidate in ({}, None, Hostile(), HostileClass()):
            assert parse("").matches(candidate) is True

    @pytest.mark.parametrize("make", [Hostile, HostileClass, HostileMapping, object, lambda: None, str, int, bytes])
    def test_survives_any_candidate(self, make):
        for text in ("a=1", "a!=1", "a>1", "a=*", "a.b=1", "not a=1"):
            assert parse(text).matches(make()) is text.startswith("not")
            assert parse(text).matches([make(), (make(),)]) is text.startswith("not")

    def test_takes_endless_recursion_in_a_comparison_for_one_that_raises(self):
        class Endless:
            def __eq__(self, other):
                return self == other

        assert not holds("v=x", Endless())
        assert not holds("v!=x", Endless())
        assert holds("not v=x", Endless())

    def test_does_not_turn_a_full_stack_into_an_answer(self):
        class Simple:
            def __eq__(self, other):
                return other == "x"

        def at_depth(levels, function):
            return at_depth(levels - 1, function) if levels else function()

        matches = [parse("not v=x").matches, compile("not v=x"), parse("not v.w=x").matches, compile("not v.w=x")]
        candidates = [{"v": Simple()}] * 2 + [{"v": UserDict(w="x")}] * 2
        answers = set()
        for levels in range(sys.getrecursionlimit() - 250, sys.getrecursionlimit()):
            for function, candidate in zip(matches, candidates, strict=True):
                try:
                    answers.add(at_depth(levels, lambda f=function, c=candidate: f(c)))
                except RecursionError:
                    answers.add("full")

        assert answers == {False, "full"}

    def test_lets_what_is_no_exception_pass(self):
        class Interrupted:
            def __eq__(self, other):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            holds("v=x", Interrupted())
