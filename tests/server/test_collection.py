"""Garbage collections take milliseconds, and free dropped objects."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref

from rxhub.server import collection
from rxhub.server.collection import collect_when_idle, short_collections


class Cycle:
    def __init__(self) -> None:
        self.itself = self


# In a process of its own: what is frozen concerns all of it.
MANY_OBJECTS = """
import gc
from rxhub.server.collection import short_collections

looked_at = []
gc.callbacks.append(lambda phase, info: phase == "start" and looked_at.append(len(gc.get_objects())))
with short_collections():
    del looked_at[:]
    kept = [[[], {}] for _ in range(400_000)]
    print(max(looked_at, default=0), gc.get_freeze_count())
"""


def test_a_collection_looks_at_a_small_part_of_what_is_kept() -> None:
    done = subprocess.run([sys.executable, "-c", MANY_OBJECTS], capture_output=True, text=True, timeout=120, check=True)
    looked_at, frozen = map(int, done.stdout.split())
    # Interpreters with incremental collections see to it themselves.
    assert looked_at < 100_000 < frozen or not gc.get_threshold()[2]


AS_BEFORE = """
import gc
from rxhub.server.collection import short_collections

before = gc.get_threshold(), list(gc.callbacks), gc.get_freeze_count()
with short_collections():
    assert gc.get_freeze_count() > 10_000
assert (gc.get_threshold(), gc.callbacks, gc.get_freeze_count()) == before
"""


def test_everything_is_as_before_afterwards() -> None:
    subprocess.run([sys.executable, "-c", AS_BEFORE], timeout=120, check=True)


def test_what_was_frozen_and_dropped_is_found_when_clients_have_left_and_it_is_quiet() -> None:
    async def main() -> None:
        cycle = Cycle()
        dropped = weakref.ref(cycle)
        gc.collect()
        gc.collect()
        del cycle
        left, events = [0], [0]
        watching = asyncio.ensure_future(collect_when_idle(lambda: left[0], lambda: events[0], interval=0.001))
        for _ in range(20):
            await asyncio.sleep(0.002)
        gc.collect()
        assert dropped() is not None, "nobody has left"
        left[0] = 5_000
        while dropped() is not None:
            await asyncio.sleep(0.001)
        watching.cancel()

    with short_collections():
        asyncio.run(main())


def test_while_events_come_it_waits_until_very_many_have_left() -> None:
    async def main() -> None:
        cycle = Cycle()
        dropped = weakref.ref(cycle)
        gc.collect()
        gc.collect()
        del cycle
        left, events, looks = [0], [0], [0]

        def busy() -> int:
            events[0] += 1
            looks[0] += 1
            return events[0]

        watching = asyncio.ensure_future(collect_when_idle(lambda: left[0], busy, interval=0.001))
        while not looks[0]:
            await asyncio.sleep(0.001)
        left[0] = collection._DISCONNECTS_WHEN_BUSY - 1
        while looks[0] < 40:
            await asyncio.sleep(0.001)
        assert dropped() is not None
        left[0] += 1
        while dropped() is not None:
            await asyncio.sleep(0.001)
        watching.cancel()

    with short_collections():
        asyncio.run(main())
