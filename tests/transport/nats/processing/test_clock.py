"""A relative `since` refers to the server's clock, which timestamps the events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from reactivex import operators as ops

from rxhub import EventHub
from rxhub.hub import replay
from rxhub.transport.nats import stream_reader as playback
from rxhub.transport.nats import streams
from rxhub.transport.nats.processing import group
from tests.transport.nats.processing.working import Seen, publish


@pytest.fixture(params=[timedelta(days=-3), timedelta(days=3)])
def wrong_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of this program is wrong by days."""

    class Kind(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Clock(datetime, metaclass=Kind):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + request.param

    for module in (replay, playback, streams, group):
        monkeypatch.setattr(module, "datetime", Clock, raising=False)
    monkeypatch.setattr("time.time", lambda: datetime.now(UTC).timestamp() + request.param.total_seconds())


@pytest.mark.usefixtures("wrong_clock")
def test_a_group_begins_so_long_ago_by_the_servers_clock(hub: EventHub) -> None:
    publish(hub, "a", 1, 2)
    seen = Seen()
    with hub.process("topic=a", seen, group="g", since=timedelta(hours=1)):
        assert seen.wait(2) == [1, 2]


@pytest.mark.usefixtures("wrong_clock")
def test_a_replay_begins_and_ends_so_long_ago_by_the_servers_clock(hub: EventHub) -> None:
    publish(hub, "a", 1, 2)

    def count(**span: timedelta) -> int:
        with hub.start():
            return hub.replay("topic=a", **span).pipe(ops.count()).run()

    assert count(since=timedelta(hours=1)) == 2
    assert count(until=timedelta(hours=1)) == 0
    assert count(since=timedelta.max, until=timedelta()) == 2
