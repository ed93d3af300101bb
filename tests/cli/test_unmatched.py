"""On a terminal, a search that finds nothing says which key or value no event had."""

from __future__ import annotations

import re

import pytest

from rxhub.server import Running
from tests.cli.terminal import EVENTS, on_a_terminal, rxhub
from tests.cli.wire import variables


@pytest.mark.parametrize(
    ("subscription", "told"),
    [
        ("topc=ftrack.update", "has a key topc; did you mean topic?"),
        ("date.x=1", "has a key date; did you mean data?"),
        ("topic=ftrack.update and data.entitys.entityType=task", "has a key data.entitys; did you mean data.entities?"),
        ("topic=ftrack.updat", "has topic=ftrack.updat; found 'ftrack.update'"),
        ("data.progress > 100", "has data.progress > 100; found"),
        ("topic=ftrack.update and data.tags=urgent", "each condition matched some of the 1,000 events"),
        ("nothing.like.this=1", "none of the 1,000 events has a key nothing"),
        ("topic in (a, b)", "has topic=a"),
    ],
)
def test_filter_says_which_condition_no_event_met(subscription: str, told: str) -> None:
    status, seen = on_a_terminal("filter", subscription, EVENTS)
    assert status == 1
    assert told in re.sub(r"\s+", " ", seen)


def test_nothing_is_said_of_what_was_found_or_asked_for_otherwise() -> None:
    assert "none of" not in on_a_terminal("filter", "--count", "topic=ftrack.update", EVENTS)[1]
    assert "none of" not in on_a_terminal("filter", "--invert", "topic=*", EVENTS)[1]
    assert rxhub("filter", "topc=x", EVENTS).stderr == b""  # in a script it is grep


def test_no_secret_and_no_control_character_is_shown(tmp_path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"topic": "a\u202e", "data": {"password": "hunter2"}}\n')
    seen = on_a_terminal("filter", "topic=b and data.password=x", path)[1]
    assert "hunter2" not in seen and "\u202e" not in seen and r"\u202e" in seen


def test_listen_names_a_misspelled_key(server: Running) -> None:
    status, seen = on_a_terminal("listen", "topc=x", "--timeout", "0.1", **variables(server))
    assert status == 1
    assert "topc is not a key of an event; did you mean topic?" in re.sub(r"\s+", " ", seen)
