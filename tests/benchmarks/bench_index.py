"""The index, against a dictionary of topics with tests written by hand.

The peer is what somebody would write who knows the subscriptions: a dictionary from topic to pairs of a lambda and
an entry. It reads the event with bare subscripts, so that it raises where a field is missing and knows neither lists
nor numbers that are texts. Where all subscriptions share a topic, that dictionary is a loop over all of them.
"""

from __future__ import annotations

import gc
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any, TypeAlias

from rxhub.expression.ast import And, Condition, Expression
from rxhub.expression.index import Index
from rxhub.expression.parser import parse
from tests.benchmarks.measure import Goal, Loop, Row, at_most, bytes_within, compare

__all__ = ["run"]

Event: TypeAlias = dict[str, Any]
Test: TypeAlias = Callable[[Event], bool]
Subscription: TypeAlias = tuple[str, Expression, Test]
"""Topic; the whole expression; the test by hand of what the expression asks beside the topic."""

_SAMPLES = Path(__file__).parent.parent / "data" / "events.jsonl"
_EVENTS = 3_000
_USERS = 12
_SEED = 20


def run() -> list[Row]:
    """All loads, the largest of a million subscriptions."""
    return [*_one_and_none(), *_ten(), *_users_of_one_topic(), *_million_on_one_topic(), *_memory()]


def _one_and_none() -> Iterator[Row]:
    """Each topic has one subscription, which also names a user."""
    ratios: dict[int, dict[str, Row]] = {}
    for size in (100, 10_000, 100_000, 1_000_000):
        subscriptions = (_of_user(_topic(number), number % _USERS) for number in range(size))
        index, by_hand = _both(subscriptions)
        numbers = random.Random(_SEED).choices(range(size), k=min(size * 30, _EVENTS))
        loads = {
            "one matches": [_event(_topic(number), number % _USERS) for number in numbers],
            "none, another topic": [_event(_topic(number + size), number % _USERS) for number in numbers],
            "none, another user": [_event(_topic(number), (number + 1) % _USERS) for number in numbers],
        }
        ratios[size] = {}
        for name, events in loads.items():
            goal = at_most(1.5 if name == "one matches" else 1.2)
            row = _beside(f"{size:,} topics: {name}", index.match, by_hand, events, goal)
            ratios[size][name] = row
            yield row
    few, many = ratios[100], ratios[1_000_000]
    for name, row in many.items():
        yield _growth(f"    {name}: the ratio at 1,000,000 over that at 100", few[name], row)


def _ten() -> Iterator[Row]:
    """Each topic has ten subscriptions."""
    size = 10_000
    topics = [_topic(number) for number in range(size)]
    numbers = random.Random(_SEED).choices(range(size), k=_EVENTS)
    events = [_event(topics[number], 7) for number in numbers]

    index, by_hand = _both(_of_user(topic, 7) for topic in topics for _ in range(10))
    yield _beside("100,000 on 10,000 topics: ten match, one residual", index.match, by_hand, events, at_most(1.0))

    questions = _ten_questions()
    index, by_hand = _both((topic, _on(topic, text), test) for topic in topics for text, test in questions)
    yield _beside("100,000 on 10,000 topics: ten match, ten residuals", index.match, by_hand, events, at_most(2.0))

    index, by_hand = _both(_of_user(topic, user) for topic in topics for user in range(10))
    yield _beside("100,000 on 10,000 topics: one of ten matches", index.match, by_hand, events, at_most(2.0))


def _users_of_one_topic() -> Iterator[Row]:
    """10,000 subscriptions to one topic, each of one of seven users, some with more conditions.

    The users have few or many of them, so that the time can be seen to follow what matches.
    """
    chance = random.Random(_SEED)
    topic = "studio.render.finished"
    users = chance.choices(range(7), weights=[2**user for user in range(7)], k=10_000)
    trees = [_on(topic, _question_of(user, chance)) for user in users]
    index: Index[int] = Index()
    for number, tree in enumerate(trees):
        index.add(tree, number)
    loop = _compiled_one_by_one(trees)
    for user in (0, 2, 4, 6):
        events = [_event(topic, user) for _ in range(10)]
        matches = sum(len(index.match(event)) for event in events) / len(events)
        row = _beside(
            f"10,000 on one topic, of seven users: {matches:,.0f} match",
            index.match,
            loop,
            events,
            peer_name="each compiled",
            rounds=7,
        )
        yield row
        yield Row("    the same for each match", row.ours_ns / matches, (row.peer_ns or 0) / matches, row.peer)


def _million_on_one_topic() -> Iterator[Row]:
    """As many users as subscriptions, all on one topic."""
    topic = "studio.render.finished"
    on_topic = Condition("topic", "=", topic)
    taken: dict[int, Row] = {}
    for size in (100, 1_000_000):
        index: Index[int] = Index()
        gc.disable()
        for user in range(size):
            index.add(And((on_topic, Condition("source.user.username", "=", _user(user)))), user)
        gc.enable()
        events = [_event(topic, user) for user in random.Random(_SEED).choices(range(size), k=min(size * 30, _EVENTS))]
        by_name = {_user(user): [user] for user in range(size)}

        def look_up(event: Event, by_name: dict[str, list[int]] = by_name) -> list[int]:
            return by_name.get(event["source"]["user"]["username"], [])

        taken[size] = _beside(
            f"{size:,} users of one topic: one matches", index.match, look_up, events, peer_name="bare dict.get"
        )
        yield taken[size]
    yield _growth("    the ratio at 1,000,000 over that at 100", taken[100], taken[1_000_000])


def _memory() -> Iterator[Row]:
    """What an entry costs; the entry itself and the tree that was given are not counted, unless they are kept."""
    size = 100_000
    event = _event("", 0)

    def fill() -> Index[None]:
        index: Index[None] = Index()
        for number in range(size):
            user = Condition("source.user.username", "=", _user(number % _USERS))
            index.add(And((Condition("topic", "=", _topic(number)), user)), None)
        return index

    gc.collect()
    tracemalloc.start()
    index = fill()
    gc.collect()
    added = tracemalloc.get_traced_memory()[0] / size
    for number in range(size):
        event["topic"] = _topic(number)
        event["source"]["user"]["username"] = _user(number % _USERS)
        assert len(index.match(event)) == 1
    gc.collect()
    matched = tracemalloc.get_traced_memory()[0] / size
    tracemalloc.stop()
    goal = bytes_within(1_000)
    yield Row(f"memory an entry, {size:,} topics: after adding", added, goal=goal, unit="B")
    yield Row(f"memory an entry, {size:,} topics: after its first match", matched, goal=goal, unit="B")


def _growth(what: str, few: Row, many: Row) -> Row:
    """How the ratio grows with the number of subscriptions."""
    growth = (many.ratio or 0) / (few.ratio or 1)
    return Row(what, many.ours_ns, many.peer_ns, many.peer, growth, at_most(1.3))


def _both(subscriptions: Iterator[Subscription]) -> tuple[Index[int], Callable[[Event], list[int]]]:
    """The index and the dictionary by hand of the same subscriptions, entries being their numbers."""
    index: Index[int] = Index()
    table: dict[str, list[tuple[Test, int]]] = {}
    gc.disable()
    for number, (topic, tree, test) in enumerate(subscriptions):
        index.add(tree, number)
        table.setdefault(topic, []).append((test, number))
    gc.enable()

    def match(event: Event) -> list[int]:
        hits: list[int] = []
        for test, entry in table.get(event["topic"], ()):
            if test(event):
                hits.append(entry)
        return hits

    return index, match


def _beside(
    what: str,
    ours: Callable[[Event], Sequence[int]],
    peer: Callable[[Event], list[int]],
    events: list[Event],
    goal: Goal | None = None,
    *,
    peer_name: str = "by hand",
    rounds: int = 40,
) -> Row:
    for event in events:
        assert list(ours(event)) == peer(event)
    loops = [
        Loop("for event in events: match(event)", per=len(events), events=events, match=match) for match in (ours, peer)
    ]
    return compare(what, *loops, goal, peer_name=peer_name, rounds=rounds)


def _compiled_one_by_one(trees: list[Expression]) -> Callable[[Event], list[int]]:
    from rxhub.expression.compiler import compile_tree

    tests = [(compile_tree(tree), number) for number, tree in enumerate(trees)]

    def match(event: Event) -> list[int]:
        hits: list[int] = []
        for test, entry in tests:
            if test(event):
                hits.append(entry)
        return hits

    return match


def _topic(number: int) -> str:
    return f"studio.t{number}"


def _user(number: int) -> str:
    return f"artist{number:02}@studio.example"


def _of_user(topic: str, user: int) -> Subscription:
    condition, test = _is_user(user)
    return topic, And((Condition("topic", "=", topic), condition)), test


@cache
def _is_user(user: int) -> tuple[Condition, Test]:
    name = _user(user)
    return Condition("source.user.username", "=", name), lambda event: event["source"]["user"]["username"] == name


def _on(topic: str, text: str) -> Expression:
    return And((Condition("topic", "=", topic), _parsed(text)))


@cache
def _parsed(text: str) -> Expression:
    return parse(text)


def _question_of(user: int, chance: random.Random) -> str:
    name = f"source.user.username={_user(user)}"
    job = chance.randrange(10_000, 90_000)
    match chance.randrange(8):
        case 0:
            return f"{name} and data.job >= {job}"
        case 1:
            return f"{name} and data.job < {job}"
        case 2:
            return f"{name} and (data.note=ok or source.host=ws-{job % 20:03}.local)"
        case 3:
            return f"{name} and source.host=ws-{job % 20:03}.*"
        case 4:
            return f"{name} and not data.tags=hero"
        case 5:
            return f"{name} and data.progress > 0.{job} and data.tags=client"
        case _:
            return name


def _ten_questions() -> list[tuple[str, Test]]:
    """Ten that every event of `_event` answers with yes, and the same by hand."""
    name = _user(7)
    start, job, half, nowhere, ok, token, low = "artist", 100, 1.5, "ws-999.local", "note", "target", 10
    return [
        (f"source.user.username={name}", lambda event: event["source"]["user"]["username"] == name),
        ("source.user.username=artist*", lambda event: event["source"]["user"]["username"].startswith(start)),
        (f"data.job >= {job}", lambda event: event["data"]["job"] >= job),
        (f"data.job > {low}", lambda event: event["data"]["job"] > low),
        (f"data.progress < {half}", lambda event: event["data"]["progress"] < half),
        (f"source.host != {nowhere}", lambda event: event["source"]["host"] != nowhere),
        (f"source.applicationId={_APPLICATION}", lambda event: event["source"]["applicationId"] == _APPLICATION),
        (f"data.note != {ok}", lambda event: event["data"]["note"] != ok),
        ("source.host=ws-*", lambda event: event["source"]["host"].startswith("ws-")),
        (f"not target={token}", lambda event: event["target"] != token),
    ]


_APPLICATION = "ftrack.api.python"


@cache
def _samples() -> Iterator[str]:
    """The studio's own events, over and over."""
    lines = _SAMPLES.read_text(encoding="utf-8").splitlines()
    return cycle([line for line in lines if json.loads(line)["topic"].startswith("studio.")])


def _event(topic: str, user: int) -> Event:
    """An event of the studio's shape; no two share any part."""
    event: Event = json.loads(next(_samples()))
    event["topic"] = topic
    event["source"]["user"]["username"] = _user(user)
    event["source"]["applicationId"] = _APPLICATION
    return event


if __name__ == "__main__":
    from tests.benchmarks.measure import table

    print(table(run()))
