"""On a terminal, a search that finds nothing says which key or value no event had."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from rxhub import Event
from rxhub.server import Running
from tests.cli.terminal import EVENTS, on_a_terminal, rxhub
from tests.cli.wire import peer, variables
from tests.threads import LIMIT, until


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
        ("topic in (a, b)", "has topic=a or topic=b; found 'ftrack.update'"),
        ("topic in (a, b, c, d, e, f, g)", "has topic=a or topic=b or topic=c or topic=d or topic=e or …; found"),
        ("not topic=*", "all 1,000 events match 'topic=*', which the subscription excludes with `not`"),
        ("not (topic=* and id=*)", "events match 'topic=* and id=*', which the subscription excludes with `not`"),
        ("inReplyTo=x", "has a key inReplyTo; did you mean in_reply_to_event?"),
        ("in_reply_to=x", "has a key in_reply_to; did you mean in_reply_to_event?"),
        ("(topic=a or data.entitys=*) and id=*", "has a key data.entitys; did you mean data.entities?"),
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


def test_an_alternative_that_no_event_met_is_not_reported_beside_one_that_was_met() -> None:
    seen = on_a_terminal("filter", "(topic=a or topic=ftrack.update) and data.tags=urgent", EVENTS)[1]
    assert "topic=a" not in seen and "each condition matched some" in re.sub(r"\s+", " ", seen)


def test_a_secret_beside_its_name_is_not_shown(tmp_path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"topic": "a", "data": {"name": "password", "value": "hunter2"}}\n')
    seen = on_a_terminal("filter", "data.value=x", path)[1]
    assert "not have data.value" in seen and "hunter2" not in seen


def test_a_value_that_is_excluded_by_an_inequality_is_shown(tmp_path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"topic": "a"}\n{"topic": "a"}\n')
    assert "none of the 2 events has topic!=a; found 'a'" in on_a_terminal("filter", "topic!=a", path)[1]


def test_it_is_said_that_there_was_no_event(tmp_path) -> None:
    (tmp_path / "none.jsonl").touch()
    assert "no event to examine" in on_a_terminal("filter", "topic=a", tmp_path / "none.jsonl")[1]
    assert "did you mean 'topic'?" in on_a_terminal("filter", "topc=a", tmp_path / "none.jsonl")[1]


@pytest.mark.parametrize(
    ("subscription", "told"),
    [
        ("topic=studio.hullo", "not have topic=studio.hullo; found 'studio.hello'"),
        ("not topic=studio.hello", "'topic=studio.hello', which the subscription excludes"),
        ("topic=studio.hello and data.frame=1", "not have a key data.frame; did you mean data.frames?"),
    ],
)
def test_listen_says_what_other_events_had(server: Running, subscription: str, told: str) -> None:
    with peer(server) as hub, ThreadPoolExecutor(1) as pool:
        before = server.stats["events_received"]
        ran = pool.submit(on_a_terminal, "listen", subscription, "--timeout", "5", **variables(server))
        # The hub's own subscriber to replies, the one of the command, and the one to all events.
        until(lambda: server.stats["events_received"] >= before + 3)
        hub.publish(Event("studio.hello", data={"frames": 1}))
        status, seen = ran.result(LIMIT)
    assert status == 1
    assert told in re.sub(r"\s+", " ", seen)


def test_listen_names_a_misspelled_key(server: Running) -> None:
    status, seen = on_a_terminal("listen", "topc=x", "--timeout", "0.1", **variables(server))
    assert status == 1
    assert re.sub(r"\s+", " ", seen).count("'topc': did you mean 'topic'?") == 1
