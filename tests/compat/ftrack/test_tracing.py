"""The trace context in the source of events, with ftrack's client: it accepts these events, and passes them on."""

from __future__ import annotations

from typing import Any

import pytest

import rxhub
from rxhub.server import Running
from tests.compat.ftrack.judged import OURS, THEIRS
from tests.telemetry.recorded import BAGGAGE, SAMPLED, TRACE, Recorded, is_child, recorded
from tests.threads import until

__all__ = ["recorded"]


@pytest.mark.parametrize("replier", [THEIRS, OURS])
def test_a_client_of_ftrack_handles_a_traced_event_and_replies(
    server: Running, wait_until: Any, recorded: Recorded, replier: Any
) -> None:
    sources: list[Any] = []
    replies: list[Any] = []
    replying = replier.EventHub(server.url, server.api_user, server.api_key)
    replying.connect()
    replying.subscribe("topic=ask and source.host=*", lambda event: sources.append(event["source"]) or {"ok": True})
    wait_until(replying, lambda: replying._packet_callbacks == {})
    with rxhub.EventHub(server.url, server.api_user, server.api_key) as asking:
        asking.connect()
        asking.start()
        until(lambda: asking.subscriptions_synced)
        asking.publish(rxhub.Event("ask"), on_reply=replies.append)
        wait_until(replying, lambda: sources)
        until(lambda: replies)
    replying.disconnect()
    (published,) = recorded.ended("publish ask")
    assert replies[0].data == {"ok": True}
    assert sources[0]["traceparent"][:-3] == f"00-{published.context.trace_id:032x}-{published.context.span_id:016x}"


def test_an_event_that_a_client_of_ftrack_publishes_again_keeps_its_context(
    server: Running, wait_until: Any, recorded: Recorded
) -> None:
    theirs = THEIRS.EventHub(server.url, server.api_user, server.api_key)
    theirs.connect()
    seen: list[Any] = []
    with rxhub.EventHub(server.url, server.api_user, server.api_key) as ours:
        ours.connect()
        ours.subscribe("topic=a", seen.append)
        ours.start()
        until(lambda: ours.subscriptions_synced)
        theirs.publish(THEIRS.Event("a", source={"traceparent": SAMPLED, "baggage": BAGGAGE}))
        until(lambda: seen)
    theirs.disconnect()
    assert seen[0].source["traceparent"] == SAMPLED and seen[0].source["id"] == theirs.id
    (delivered,) = recorded.ended("deliver a")
    assert f"{delivered.context.trace_id:032x}" == TRACE


def test_the_replacement_of_the_client_traces_what_it_publishes_and_its_replies(
    server: Running, wait_until: Any, recorded: Recorded
) -> None:
    hub = OURS.EventHub(server.url, server.api_user, server.api_key)
    hub.connect()
    replies: list[Any] = []

    def answer(event: Any) -> str:
        return "done"

    hub.subscribe("topic=ask", answer)
    hub.publish(OURS.Event("ask"), on_reply=replies.append)
    wait_until(hub, lambda: replies)
    assert hub.publish(OURS.Event("here"), synchronous=True) == []
    hub.disconnect()
    published, delivered, called, replied, _ = recorded.ended(
        "publish ask", "deliver ask", f"call {answer.__qualname__}", "publish ftrack.meta.reply", "publish here"
    )
    assert is_child(delivered, published) and is_child(called, delivered) and is_child(replied, called)
    assert "publish ftrack.meta.subscribe" not in recorded.names
