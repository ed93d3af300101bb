"""What a hub hears of its own right after it has connected."""

from __future__ import annotations

from threading import Event as Flag

from rxhub import Event, EventHub
from rxhub.testing import Nats

LIMIT = 10.0


def test_what_is_published_right_after_connecting_reaches_the_hubs_own_subscribers(nats: Nats):
    # Whether the first read or the first event is quicker is a matter of chance.
    for attempt in range(10):
        heard = Flag()
        hub = EventHub(nats.url, nats.user, nats.password, stream=f"{nats.stream}-{attempt}")
        with hub, hub.start():
            hub.subscribe("topic=studio.opened", lambda event, heard=heard: heard.set())
            hub.connect()
            hub.publish(Event("studio.opened")).result(LIMIT)
            assert heard.wait(LIMIT)
