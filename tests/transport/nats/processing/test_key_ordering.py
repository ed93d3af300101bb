"""`KeyOrdering` against a model: a list of all items in order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxhub import Event
from rxhub.expression import parse
from rxhub.transport.nats.processing.key_ordering import KeyOrdering, key_values

KEYS = st.lists(st.sampled_from("abcd"), max_size=3)
STEPS = st.lists(st.one_of(KEYS, st.integers(0, 100)), max_size=60)


class Model:
    """An item may run if it shares no key with an earlier one."""

    def __init__(self) -> None:
        self.inside: list[tuple[int, set[str]]] = []

    def may_run(self) -> set[int]:
        return {
            item
            for place, (item, keys) in enumerate(self.inside)
            if not any(keys & before for _, before in self.inside[:place])
        }


@example([["a", "b"], ["b"], ["a"], 0])
@given(STEPS)
def test_an_item_may_run_as_soon_as_nobody_before_it_has_one_of_its_keys(steps: list[list[str] | int]) -> None:
    lanes: KeyOrdering[int] = KeyOrdering()
    model, running = Model(), set[int]()
    for number, step in enumerate(steps):
        if isinstance(step, int):
            if not model.inside:
                continue
            # Including items that have not run: returned ones, and those whose lease has expired.
            item, _ = model.inside.pop(step % len(model.inside))
            running.discard(item)
            freed = lanes.remove(item)
            assert freed == sorted(freed) and not running & set(freed)
            running |= set(freed)
        else:
            model.inside.append((number, set(step)))
            if lanes.add(number, step):
                running.add(number)
        assert running == model.may_run()
        assert len(lanes) == len(model.inside) - len(running)


@given(st.lists(KEYS, max_size=40), st.randoms())
def test_the_events_of_a_key_run_one_after_the_other_in_order(events: list[list[str]], chance: Any) -> None:
    lanes: KeyOrdering[int] = KeyOrdering()
    running = [number for number, keys in enumerate(events) if lanes.add(number, keys)]
    done: list[int] = []
    while running:
        busy = [key for item in running for key in set(events[item])]
        assert len(busy) == len(set(busy))
        item = running.pop(chance.randrange(len(running)))
        done.append(item)
        running += lanes.remove(item)
    assert sorted(done) == list(range(len(events)))
    for key in "abcd":
        of_key = [item for item in done if key in events[item]]
        assert of_key == sorted(of_key)


def test_lanes_that_nobody_stands_in_are_forgotten() -> None:
    lanes: KeyOrdering[str] = KeyOrdering()
    for number in range(1000):
        lanes.add("item", [f"key {number}", "shared"])
        lanes.remove("item")
    assert not any(value for value in vars(lanes).values() if isinstance(value, dict))


@pytest.mark.parametrize(
    ("path", "data", "values"),
    [
        ("data.shot", {"shot": "s1"}, ["s1"]),
        ("data.shot", {}, []),
        ("data.shot", {"shot": None}, []),
        ("data.shot", {"shot": 0}, [0]),
        ("data.entities.entityId", {"entities": [{"entityId": "a"}, {"entityId": "b"}]}, ["a", "b"]),
        ("data.entities.entityId", {"entities": [[{"entityId": "a"}], {"other": 1}]}, ["a"]),
        ("data.tags", {"tags": ["x", "y"]}, ["x", "y"]),
        ("data.who", {"who": {"id": 1}}, ['{"id":1}']),
        ("topic", {}, ["t"]),
    ],
)
def test_the_values_of_a_key_are_found_as_subscriptions_find_them(path: str, data: Any, values: list[Any]) -> None:
    event = Event("t", data=data)
    assert key_values(path)(event) == values
    for value in values:
        if isinstance(value, (str, int)) and not str(value).startswith("{"):
            assert parse(f'{path}="{value}"' if isinstance(value, str) else f"{path}={value}").matches(event)
