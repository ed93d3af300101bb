"""One expression, against a lambda by hand and ftrack's own client.

Two lambdas are written for each expression. The trusting one reads with bare subscripts; it raises where a field is
missing. The careful one answers False there, as a subscription does. Neither knows lists, `Event`s or numbers that are
texts. All candidates are dicts that match, but for the rows that say otherwise.

Parsing is timed with `parse` itself, which remembers nothing, and compiling with a tree that was just parsed.
"""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of the pyparsing that ftrack's client needs
    from ftrack_api.event.expression import Parser

from rxhub.event import Event
from rxhub.expression.compiler import compile_tree
from rxhub.expression.parser import parse
from tests.benchmarks.measure import Goal, Loop, Row, at_most, compare, faster, table

__all__ = ["run"]

_Test: TypeAlias = Callable[[dict[str, Any]], bool]

_TOPIC = "topic=ftrack.update"
_USER = f"{_TOPIC} and source.user.username=jane.doe"
_MIXED = f"{_TOPIC} and (source.user.username=jane.doe or data.count >= 10) and not id=x*"
_APPLICATION = (
    "topic=ftrack.connect.application.discover and (data.application.identifier=nuke-studio* "
    "or data.application.identifier=hiero*) and data.application.version >= 14"
)
_NESTED = "a=b and ((c=d or e!=f) and not g.h > 10)"
_ENTITY = f"{_TOPIC} and data.entities.entityType=task"


def _trusting_topic(event: dict[str, Any]) -> bool:
    return event["topic"] == "ftrack.update"


def _trusting_user(event: dict[str, Any]) -> bool:
    return event["topic"] == "ftrack.update" and event["source"]["user"]["username"] == "jane.doe"


def _trusting_mixed(event: dict[str, Any]) -> bool:
    return (
        event["topic"] == "ftrack.update"
        and (event["source"]["user"]["username"] == "jane.doe" or event["data"]["count"] >= 10)
        and not event["id"].startswith("x")
    )


def _careful_topic(event: dict[str, Any]) -> bool:
    return event.get("topic") == "ftrack.update"


def _careful_user(event: dict[str, Any]) -> bool:
    return (
        event.get("topic") == "ftrack.update" and event.get("source", {}).get("user", {}).get("username") == "jane.doe"
    )


def _careful_mixed(event: dict[str, Any]) -> bool:
    return (
        event.get("topic") == "ftrack.update"
        and (
            event.get("source", {}).get("user", {}).get("username") == "jane.doe"
            or event.get("data", {}).get("count", 0) >= 10
        )
        and not event.get("id", "").startswith("x")
    )


_CASES: list[tuple[str, str, _Test, _Test, Goal]] = [
    ("topic", _TOPIC, _trusting_topic, _careful_topic, faster(3)),
    ("topic and user", _USER, _trusting_user, _careful_user, faster(6)),
    ("topic and (user or count) and not id", _MIXED, _trusting_mixed, _careful_mixed, faster(6)),
]


def run() -> list[Row]:
    """Matching, then parsing with compiling."""
    return [*_matching(), *_beside(), *_reading()]


def _event(count: Any = 12) -> dict[str, Any]:
    """An event as a JSON reader makes it: no text in it is the constant of anybody's code."""
    event = {
        "topic": "ftrack.update",
        "id": "63afe07f493d49ad946b6a038e158ee4",
        "data": {"count": count, "entities": [{"entityType": "show"}, {"entityType": "task"}]},
        "source": {"user": {"username": "jane.doe"}},
    }
    return json.loads(json.dumps(event))


def _matching() -> Iterator[Row]:
    event = _event()
    texts = _event("12")  # ftrack's client raises where it compares a number with its texts
    for what, text, trusting, careful, goal in _CASES:
        matches, theirs = compile_tree(parse(text)), Parser().parse(text).match
        assert matches(event)
        assert trusting(event)
        assert careful(event)
        assert theirs(texts)
        ours = Loop("f(event)", f=matches, event=event)
        yield compare(what, ours, Loop("f(event)", f=careful, event=event), at_most(1.25), peer_name="careful lambda")
        yield compare(what, ours, Loop("f(event)", f=trusting, event=event), peer_name="trusting lambda")
        yield compare(what, ours, Loop("f(event)", f=theirs, event=texts), goal, peer_name="ftrack's client")


def _beside() -> Iterator[Row]:
    """What is not quite as usual; the rows only inform."""
    matches, careful = compile_tree(parse(_USER)), _careful_user
    event = _event()
    other, without = event | {"topic": "ftrack.location"}, event | {"source": {}}
    for what, candidate in (("another topic", other), ("no user", without)):
        ours = Loop("f(event)", f=matches, event=candidate)
        yield compare(what, ours, Loop("f(event)", f=careful, event=candidate), peer_name="careful lambda")
    ours = Loop("f(event)", f=matches, event=Event(**event))
    yield compare("an Event", ours, Loop("f(event)", f=careful, event=event), peer_name="careful lambda, dict")
    tree = parse(_USER)
    ours = Loop("f(event)", f=tree.matches, event=event)
    yield compare("interpreted", ours, Loop("f(event)", f=careful, event=event), peer_name="careful lambda")
    inside = compile_tree(parse(_ENTITY))
    assert inside(event)
    ours = Loop("f(event)", f=inside, event=event)
    theirs = Loop("f(event)", f=Parser().parse(_ENTITY).match, event=event)
    yield compare("through a list", ours, theirs, peer_name="ftrack's client, which finds nothing")


def _reading() -> Iterator[Row]:
    for what, text, goal in (
        ("topic", _TOPIC, faster(5)),
        ("topic and user", _USER, faster(5)),
        ("applications", _APPLICATION, faster(40)),
        ("nested", _NESTED, faster(40)),
    ):
        ours = Loop("compile_tree(parse(text))", compile_tree=compile_tree, parse=parse, text=text)
        theirs = Loop("parse(text)", parse=Parser().parse, text=text)
        yield compare(f"parse and compile: {what}", ours, theirs, goal, peer_name="ftrack's client", rounds=25)
        gc.collect()


if __name__ == "__main__":
    print(table(run()))
