"""What every transport can carry."""

from __future__ import annotations

import json
from collections import UserDict, deque
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.text.jsonable import jsonable


class Colour(Enum):
    RED = "red"


class Shot:
    def __repr__(self) -> str:
        return "<Shot sh010>"


class Silent:
    def __repr__(self) -> str:
        raise OSError


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, 2.5, True, None, "x"]}, {"a": [1, 2.5, True, None, "x"]}),
        ((1, {2}, deque([3])), [1, [2], [3]]),
        (UserDict({1: 2, None: 3, (4, 5): 6}), {"1": 2, "None": 3, "[4, 5]": 6}),
        (datetime(2020, 8, 18, 10, 30, tzinfo=UTC), "2020-08-18T10:30:00+00:00"),
        (date(2020, 8, 18), "2020-08-18"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Decimal("1.10"), "1.10"),
        (PurePosixPath("/a/b"), "/a/b"),
        (Colour.RED, "red"),
        (b"text", "text"),
        (Name("x"), "x"),
        ("\ud800", "?"),
    ],
    ids=repr,
)
def test_it_is_carried_as_json_has_it(value: object, expected: object) -> None:
    told: list[object] = []
    assert jsonable(value, told.append) == expected
    assert type(jsonable(value)) is type(expected) and told == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Shot(), "<Shot sh010>"),
        (Silent(), "<no representation>"),
        (float("nan"), "nan"),
        (2**64, str(2**64)),
        (2**5000, "<int of 5001 bits>"),
        (b"\xff", "b'\\xff'"),
        (Shot, f"<class '{__name__}.Shot'>"),
    ],
    ids=["object", "silent", "nan", "large", "huge", "bytes", "class"],
)
def test_what_cannot_be_carried_is_told_and_represented(value: object, expected: str) -> None:
    told: list[object] = []
    assert jsonable({"a": value}, told.append) == {"a": expected}
    assert told == [value]


def test_depth_and_size_are_bounded() -> None:
    ring: list[Any] = []
    ring.append(ring)
    text = json.dumps(jsonable(ring), ensure_ascii=False)
    assert text == "[" * 64 + '"…"' + "]" * 64
    shared: Any = []
    for _ in range(40):
        shared = [shared, shared]
    assert len(json.dumps(jsonable(shared))) < 2_000_000
    assert len(jsonable(range_ := list(range(300_000)))) <= 100_001 < len(range_)
    assert len(jsonable(dict.fromkeys(range(300_000)))) <= 100_001


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner),
)


@given(VALUES)
def test_both_encoders_carry_it_and_twice_is_as_once(value: Any) -> None:
    copy = jsonable(value)
    assert msgspec.json.decode(msgspec.json.encode(copy)) == json.loads(json.dumps(copy)) == copy
    assert jsonable(copy, lambda odd: pytest.fail(f"{odd!r} is not portable")) == copy
