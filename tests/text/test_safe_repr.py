from __future__ import annotations

from collections import UserDict, defaultdict

import pytest

from rxhub.event import Event
from rxhub.text.safe_repr import escape_html, one_line, safe_repr
from tests.expression.strategies import EndlessList, Hostile, HostileClass, HostileMapping, Pair, Version


class TestAShownValue:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, "None"),
            (True, "True"),
            (10, "10"),
            (1.5, "1.5"),
            ("it's", '"it\'s"'),
            ("a\nb", r"'a\nb'"),
            ("\ud800", r"'\ud800'"),
            (b"a\n", r"b'a\n'"),
            ([1, "a"], "[1, 'a']"),
            ((1,), "(1)"),
            (Pair(1, 2), "(1, 2)"),
            ({"a": [1]}, "{'a': [1]}"),
            ({1}, "{1}"),
            (defaultdict(int, a=1), "{'a': 1}"),
            (UserDict(a=1), "<UserDict>"),
            (Event("x", id="1"), "<Event>"),
            ([1, 2, 3, 4, 5], "[1, 2, 3, 4, …]"),
            ([[[[1]]]], "[[[…]]]"),
            (EndlessList([1, 2]), "[1, 2]"),
            (10**1_000, "<int of 3322 bits>"),
            (-(10**1_000), "<int of 3322 bits>"),
        ],
        ids=str,
    )
    def test_is_its_representation_within_bounds(self, value, expected):
        assert safe_repr(value) == expected

    def test_is_as_long_as_is_allowed(self):
        for value in (
            "x" * 10**6,
            b"x" * 10**6,
            {"x" * 100: "y" * 100},
            [["z" * 100] * 100] * 100,
            type("N" * 500, (), {}),
        ):
            assert len(safe_repr(value)) <= 80
            assert len(safe_repr(value, 20)) == 20
            assert safe_repr(value).endswith("…")

    @pytest.mark.parametrize(
        "make", [Hostile, HostileMapping, HostileClass, lambda: [Hostile()], lambda: {"a": Hostile()}]
    )
    def test_does_not_raise(self, make):
        assert safe_repr(make())

    def test_is_one_line_even_if_its_representation_is_not(self):
        class Table:
            def __repr__(self):
                return "a\tb\n1\u20282"

        assert safe_repr(Table()) == "a b 1 2"

    def test_of_containers_that_contain_themselves_or_are_deep(self):
        ring = [1]
        ring.append(ring)
        deep = []
        for _ in range(100_000):
            deep = [deep]

        assert safe_repr(ring) == "[1, [1, [1, …]]]"
        assert safe_repr(deep) == "[[[…]]]"

    def test_of_another_object_is_its_own(self):
        class Named(Version):
            def __repr__(self):
                return "v10"

        assert safe_repr(Named(10)) == "v10"


def test_one_line_has_no_breaks_and_is_cut():
    assert one_line("a\nb\x00c", 10) == r"a b\x00c"
    assert one_line("abcdef", 4) == "abc…"


def test_html_is_escaped_and_can_be_encoded():
    assert escape_html("<a & 'b'>") == "&lt;a &amp; &#x27;b&#x27;&gt;"
    assert escape_html("\ud800x\u202e").encode() == rb"\ud800x\u202e"
