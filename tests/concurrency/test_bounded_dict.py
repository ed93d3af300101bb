"""A bounded dictionary drops its oldest entry."""

from __future__ import annotations

from rxhub.concurrency.bounded_dict import BoundedDict


def test_the_oldest_entry_makes_room() -> None:
    table = BoundedDict[str, int](2)
    table["a"], table["b"], table["c"] = 1, 2, 3
    assert dict(table) == {"b": 2, "c": 3}


def test_replacing_a_value_drops_nothing_and_use_can_renew_an_entry() -> None:
    table = BoundedDict[str, int](2)
    table["a"], table["b"] = 1, 2
    table["a"] = 3
    table.move_to_end("a")
    table["c"] = 4
    assert dict(table) == {"a": 3, "c": 4}
