"""`keys()` counts each dotted key once per event, and its values by type."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub import Event, read_events, sample_events
from rxhub.exploration import Keys
from rxhub.exploration.keys import MAX_KEYS, KeyCounter
from rxhub.expression import compile
from rxhub.expression.evaluate import values_at

NAMES = {str: "string", bool: "boolean", type(None): "null", int: "integer", float: "number", dict: "object"}
names = st.sampled_from("abcd")
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
objects = st.dictionaries(names, trees, max_size=3)


def counted(candidates: list[dict[str, Any]]) -> Keys:
    counter = KeyCounter()
    for candidate in candidates:
        counter.add(candidate)
    return counter.result()


def expected(candidates: list[dict[str, Any]]) -> dict[str, tuple[int, dict[str, int]]]:
    """The counts, from a plain walk through every value."""
    events: Counter[str] = Counter()
    types: dict[str, Counter[str]] = {}

    def walk(prefix: str, value: Any, seen: set[str]) -> None:
        for key, item in value.items():
            name = f"{prefix}.{key}" if prefix else key
            seen.add(name)
            count(name, item, seen)

    def count(name: str, item: Any, seen: set[str]) -> None:
        types.setdefault(name, Counter())[NAMES.get(type(item), "list")] += 1
        if isinstance(item, dict):
            walk(name, item, seen)
        elif isinstance(item, list):
            for each in item:
                if isinstance(each, dict):
                    walk(name, each, seen)
                else:
                    count(name, each, seen)

    for candidate in candidates:
        seen: set[str] = set()
        walk("", candidate, seen)
        events.update(seen)
    return {name: (events[name], dict(types[name])) for name in events}


@given(st.lists(objects, max_size=8))
def test_counts_are_those_of_a_plain_walk(candidates: list[dict[str, Any]]) -> None:
    keys = counted(candidates)
    assert {key.name: (key.events, dict(key.types)) for key in keys} == expected(candidates)
    assert keys.events == len(candidates)


@given(st.lists(objects, min_size=1, max_size=4))
def test_a_subscription_finds_each_key_in_as_many_events(candidates: list[dict[str, Any]]) -> None:
    for key in counted(candidates):
        path = tuple(key.name.split("."))
        assert key.events == sum(any(True for _ in values_at(each, path, whole=True)) for each in candidates)


def test_many_shapes_are_counted_exactly() -> None:
    candidates = [{f"k{number}": number, "same": {"x": 1}} for number in range(3_000)]
    keys = counted(candidates)
    assert keys["same.x"].events == 3_000 and keys["k2999"].types == {"integer": 1}


def test_the_number_of_keys_is_limited() -> None:
    keys = counted([{"data": {f"{number}": 1 for number in range(MAX_KEYS + 50)}}, {"more": 1}])
    assert len(keys) == MAX_KEYS and keys.omitted == 52
    assert f"{keys.omitted} further keys" in str(keys)


def test_examples_contain_no_secrets_and_no_control_characters() -> None:
    data = {"password": "hunter2", "field": {"name": "api_key", "value": "hunter2"}, "text": "\u202ea"}
    keys = read_events([Event("a", data=data)]).keys()
    assert keys["data.password"].examples == ("***",)
    assert "hunter2" not in str(keys) and "\u202e" not in str(keys)
    assert keys["data.text"].examples == (r"'\u202ea'",)


def test_hostile_values_are_counted() -> None:
    endless: list[Any] = []
    endless.append(endless)
    loop: dict[str, Any] = {}
    loop["loop"] = loop

    class Raising:
        def __repr__(self) -> str:
            raise LookupError

    keys = counted([{"a": endless}, loop, {"b": Raising(), "a.b": 1, "": 2, 3: 4}, {"c": ({"d": b"x"},)}])
    assert keys["b"].types == {"Raising": 1}
    assert keys['"a.b"'].events == keys['""'].events == keys["3"].events == keys["c.d"].events == 1


def test_a_key_is_found_by_its_name_and_its_place() -> None:
    keys = sample_events().keys()
    job = keys["data.job"]
    assert (job.events, job.types, job.examples) == (73, {"integer": 73}, ("98016", "26231", "79029"))
    assert keys[0].name == "id" and [key.name for key in keys[1:3]] == ["topic", "data"]
    with pytest.raises(KeyError):
        keys["data.jobs"]
    assert "data.job" in keys._repr_mimebundle_()["text/html"]


@given(st.lists(objects, max_size=5), st.sampled_from(["a=*", "a.b=* and not c=*", "a=1 or (b=2 and c.d=3)"]))
def test_explain_counts_the_events_of_each_part(candidates: list[dict[str, Any]], subscription: str) -> None:
    events = [Event("t", data=candidate) for candidate in candidates]
    counts = read_events(events).explain(subscription)
    assert counts.matched == sum(map(compile(subscription), events)) and counts.seen == len(events)


def test_explain_shows_which_part_matches_nothing() -> None:
    counts = sample_events().explain("topic=studio.* and data.tags=urgen and not data.job=1")
    assert str(counts).splitlines() == [
        "0 of 160 events match",
        "  [ ] all of  0 of 160",
        "    [x] topic=studio.*  73 of 160",
        "    [ ] data.tags=urgen  0 of 160",
        "    [x] not  160 of 160",
        "      [ ] data.job=1  0 of 160",
        "  none of the 160 events has data.tags=urgen; found 'wip', 'hero', 'urgent', 'client'",
    ]
    assert "all of" in counts._repr_mimebundle_()["text/html"]
    assert sample_events().explain("data.password=hunter2").hints() and "hunter2" not in str(
        sample_events().explain("data.password=hunter2")
    )
