"""What is shown of a value is bounded, and has no secrets in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rxhub.display.outline import outline
from rxhub.redaction.preview import CutBudget, preview, preview_line
from tests.expression.strategies import any_candidates

SECRET = "hunter2"
names = st.sampled_from(["password", "newPassword", "api_key", "Authorization", "access-token"])
leaves = st.none() | st.integers() | st.text(max_size=20)
values = st.recursive(
    leaves, lambda below: st.lists(below) | st.dictionaries(st.text(max_size=9), below), max_leaves=30
)


class Endless(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        return key

    def __iter__(self) -> Iterator[str]:
        number = 0
        while True:
            yield str(number)
            number += 1

    def __len__(self) -> int:
        return 1_000_000


@given(st.lists(st.sampled_from(["list", "dict", "pair", "field"]), max_size=3), names, values)
def test_a_secret_is_shown_nowhere_whatever_stands_around_it(ways: list[str], name: str, beside: Any) -> None:
    value: Any = {name: SECRET, "beside": beside}
    for way in ways:
        wrapped = {"list": [beside, value], "dict": {"in": value}, "pair": [(name, SECRET), value]}
        value = wrapped.get(way, {"key": name, "value": SECRET, "in": value})
    assert SECRET not in f"{outline(value)}{preview_line(value, 10_000)}"


@given(st.integers(1, 40), values)
def test_a_secret_is_not_shown_if_its_label_is_beyond_the_budget(units: int, beside: Any) -> None:
    labelled = {"value": SECRET, "many": beside, **{str(n): n for n in range(30)}, "name": "password"}
    assert SECRET not in repr(preview([labelled, ("password", SECRET)], CutBudget(units)))


@given(any_candidates)
def test_any_value_can_be_outlined(value: Any) -> None:
    assert all(len(line.text) <= 100 and len(line.detail) <= 100 for line in outline(value))


def test_what_is_huge_deep_or_endless_is_cut() -> None:
    deep: Any = "bottom"
    for _ in range(500):
        deep = {"in": [deep]}
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    huge = {"many": list(range(10**6)), "text": "x" * 10**7, "wide": dict.fromkeys(range(10**5)), "deep": deep}
    for value in (huge, cyclic, Endless(), {"in": Endless()}):
        lines = outline(value)
        assert len(lines) <= 201
        assert sum(len(line.text) + len(line.detail) for line in lines) < 20_000


def test_what_was_left_out_is_counted() -> None:
    assert outline(list(range(25)))[-1].text == "… 5 more"
    assert outline(dict.fromkeys(range(22)))[-1].text == "… 2 more"


def test_a_name_that_tells_of_a_secret_is_found_however_many_come_before_it() -> None:
    field = {str(number): number for number in range(18)} | {"value": SECRET, "x": 1, "y": 2, "name": "password"}
    assert SECRET not in str(preview(field))
