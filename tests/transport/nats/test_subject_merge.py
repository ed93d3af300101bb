"""Few filters in the place of many; `test_filters` and a real server judge them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rxhub.transport.nats.subject_merge import SubjectTree
from tests.transport.nats.matching import is_matched, overlap
from tests.transport.nats.test_subject_filters import published, subjects


@given(st.lists(subjects), st.lists(subjects), st.integers(1, 12))
def test_what_was_taken_out_was_never_there(stays: list[str], goes: list[str], most: int) -> None:
    tree, alone = SubjectTree(), SubjectTree()
    for filter in goes + stays:
        tree.add(filter)
    for filter in stays:
        alone.add(filter)
    for filter in goes:
        tree.remove(filter)
    assert tree.reduce(most) == alone.reduce(most)


@given(st.lists(subjects))
def test_it_tells_what_can_make_a_difference(filters: list[str]) -> None:
    tree = SubjectTree()
    assert [tree.add(filter) for filter in filters] == [
        filter not in filters[:number] for number, filter in enumerate(filters)
    ]
    assert [tree.remove(filter) for filter in filters] == [
        filter not in filters[number + 1 :] for number, filter in enumerate(filters)
    ]
    assert tree.reduce(1) == []


@given(st.lists(st.tuples(published, st.integers(0, 40)), min_size=1), st.integers(1, 12))
def test_subjects_of_many_tokens_are_asked_for_too(drawn: list[tuple[str, int]], most: int) -> None:
    deep = [subject + ".x" * more for subject, more in drawn]
    tree = SubjectTree()
    for filter in deep:
        tree.add(filter)
    found = tree.reduce(most)
    assert not overlap(found)
    assert all(any(is_matched(subject, filter) for filter in found) for subject in deep)
    for filter in deep:
        tree.remove(filter)
    assert tree.reduce(most) == []


def test_a_thousand_tokens_take_no_more_room_than_sixteen() -> None:
    tree = SubjectTree()
    tree.add("studio.event" + ".%" * 1_000)
    assert tree.reduce(200) == ["studio.event" + ".%" * 14 + ".>"]


def test_the_widest_is_narrowed_first_and_then_what_costs_least() -> None:
    tree = SubjectTree()
    for filter in [*[f"s.event.a.{n}" for n in range(4)], *[f"s.event.b.{n}" for n in range(3)], "s.event.c.d.e"]:
        tree.add(filter)
    assert tree.reduce(1) == ["s.event.>"]
    assert tree.reduce(3) == ["s.event.a.>", "s.event.b.>", "s.event.c.d.e"]
    assert tree.reduce(5) == ["s.event.a.>", "s.event.b.0", "s.event.b.1", "s.event.b.2", "s.event.c.d.e"]
    assert len(tree.reduce(8)) == 8
