"""An event stays with its process as long as the process lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rxhub import Event, EventHub
from rxhub.testing import Nats
from rxhub.transport.nats.processing import group
from tests.threads import LIMIT, until
from tests.transport.nats.processing.working import Seen, is_idle, publish

ROOT = Path(__file__).parents[4]

# PyDLL keeps the GIL while C code runs.
HOLDER = """
import ctypes, sys, time
from rxhub import EventHub
from rxhub.transport.nats.processing import group

group.ACK_WAIT_S = {ack_wait}
url, user, password, stream = {nats!r}

def handle(event):
    print("begun", flush=True)
    ctypes.PyDLL(None).usleep(int({seconds} * 1_000_000))
    print("done", flush=True)

hub = EventHub(url, user, password, stream=stream)
processing = hub.process("topic=a", handle, group="g")
print("ready", flush=True)
sys.stdin.read()
hub.close()
"""


def test_a_process_that_holds_the_gil_for_two_thirds_of_the_time_keeps_its_event(
    hub: EventHub, nats: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "ACK_WAIT_S", 9.0)
    script = HOLDER.format(nats=(nats.url, nats.user, nats.password, nats.stream), ack_wait=9.0, seconds=6.0)
    hub.process("topic=a", print, group="g").stop()
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        publish(hub, "a", 1)
        assert holder.stdout.readline() == "begun\n"
        seen = Seen()
        with hub.process("topic=a", seen, group="g"):
            assert holder.stdout.readline() == "done\n"
            until(lambda: is_idle(hub, "g"))
        holder.stdin.close()
        assert holder.wait(LIMIT) == 0
    assert not seen


def test_by_default_a_process_may_be_silent_for_more_than_thirty_seconds(hub: EventHub) -> None:
    assert group.ACK_WAIT_S * (1 - group.IN_PROGRESS_SHARE) >= 40.0


@pytest.mark.parametrize("order", [{}, {"key": "data.value"}, {"sequential": True}])
def test_an_error_while_the_process_stops_is_no_failure(hub: EventHub, order: dict[str, object]) -> None:
    begun: list[int] = []

    def handle(event: Event) -> None:
        begun.append(event.data["value"])
        until(lambda: not processing.is_active or processing._worker._stopping is not None)  # type: ignore[union-attr]
        raise KeyboardInterrupt

    processing = hub.process("topic=a", handle, group="g", retries=0, **order)  # type: ignore[call-overload]
    publish(hub, "a", 1)
    until(lambda: begun)
    processing.stop()
    assert (processing.counts.failed, processing.counts.dead, len(hub.dead_letters)) == (0, 0, 0)
    seen = Seen()
    with hub.process("topic=a", seen, group="g", retries=0, **order):  # type: ignore[call-overload]
        assert seen.wait(1) == [1]


def test_a_failure_just_before_the_process_is_told_to_stop_is_none(
    hub: EventHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxhub.transport.nats.processing.interruptions._SIGNAL_DELAY_S", 600.0)
    begun: list[int] = []

    def handle(event: Event) -> None:
        begun.append(event.data["value"])
        raise OSError("the program that it runs was ended")

    processing = hub.process("topic=a", handle, group="g", retries=0)
    publish(hub, "a", 1)
    until(lambda: begun)
    processing.stop()
    assert (processing.counts.failed, processing.counts.dead, len(hub.dead_letters)) == (0, 0, 0)
