"""The options of `hub.process`: the retry policy, and invalid arguments."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub import EventHub
from rxhub.errors import ExpressionError, HubConnectionError, NotDurable
from rxhub.transport.nats.processing.options import MAX_DELAY_S, RetryPolicy
from tests.concurrency.test_awaitables import ANYWHERE
from tests.threads import until
from tests.transport.nats.processing.working import publish


@given(st.floats(0, 1e300), st.integers(1, 10**6))
def test_a_delay_is_between_half_and_the_whole_of_what_doubling_reaches(backoff: float, attempt: int) -> None:
    delay = RetryPolicy(5, backoff).delay(attempt)
    whole = min(max(MAX_DELAY_S, backoff), backoff * 2.0 ** min(attempt - 1, 1000))
    assert whole / 2 <= delay <= whole


@given(st.integers(0, 100), st.integers(1, 200))
def test_after_the_retries_there_is_no_further_attempt(retries: int, attempt: int) -> None:
    assert RetryPolicy(retries, 1).is_last(attempt) == (attempt > retries)


# Invalid arguments


def test_other_transports_say_what_to_use() -> None:
    with EventHub() as hub:
        with pytest.raises(NotDurable, match="nats://"):
            hub.process("topic=a", print, group="g")
        with pytest.raises(NotDurable, match="nats://"):
            hub.dead_letters


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ExpressionError, {"subscription": "topic="}),
        (TypeError, {"subscription": 1}),
        (TypeError, {"handler": "text"}),
        (TypeError, {"group": None}),
        (ValueError, {"group": " "}),
        (ValueError, {"group": "\ud800"}),
        (ValueError, {"key": "data.\ud800"}),
        (ValueError, {"retries": -1}),
        (ValueError, {"retries": 1.5}),
        (ValueError, {"retries": True}),
        (ValueError, {"backoff": float("nan")}),
        (ValueError, {"timeout": 0}),
        (ValueError, {"concurrency": 0}),
        (ValueError, {"concurrency": 1_001}),
        (ValueError, {"key": "data..id"}),
        (ValueError, {"sequential": True, "concurrency": 2}),
        (ValueError, {"sequential": True, "key": "data.id"}),
        (ValueError, {"since": "yesterday"}),
        (ValueError, {"since": datetime(2026, 1, 1)}),  # noqa: DTZ001
        (ValueError, {"since": 0}),
    ],
)
def test_mistakes_are_told_at_once(hub: EventHub, error: type[Exception], arguments: dict[str, Any]) -> None:
    given: dict[str, Any] = {"subscription": "topic=a", "handler": print, "group": "g", **arguments}
    with pytest.raises(error):
        hub.process(**given)
    assert not hub._processings


def test_a_server_that_is_not_there_is_told() -> None:
    with EventHub("nats://127.0.0.1:9", stream="s") as hub, pytest.raises(HubConnectionError, match="127.0.0.1:9"):
        hub.process("topic=a", print, group="g")


@pytest.mark.parametrize("handler", ANYWHERE.values(), ids=ANYWHERE)
def test_whatever_a_handler_returns_is_awaited_before_the_event_is_done(hub: EventHub, handler: Any) -> None:
    order: list[str] = []

    async def done(result: Any) -> None:
        if not isinstance(result, int):
            await result
        order.append("awaited")

    with hub.process("topic=a", lambda event: done(handler(event)), group="g") as processing:
        publish(hub, "a", 1)
        until(lambda: processing.counts.handled == 1)
        assert order == ["awaited"]
    with hub.process("topic=b", handler, group="h") as processing:
        publish(hub, "b", 1)
        until(lambda: processing.counts.handled == 1)
        assert processing.counts.failed == 0
