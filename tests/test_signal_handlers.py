"""A signal handler may call the hub at any point: nothing hangs, and what was published arrives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from rxhub.server import Limits, running

ROOT = Path(__file__).parents[1]

PROGRAM = """
import faulthandler, signal, sys, time
faulthandler.dump_traceback_later(60, exit=True)
whose, *arguments = sys.argv[1:]
if whose == "ftrack":
    from rxhub.compat.ftrack.base import Event
    from rxhub.compat.ftrack.hub import EventHub
else:
    from rxhub import Event, EventHub
hub = EventHub(*arguments[:3], **({"stream": arguments[3]} if whose == "nats" else {}))
hub.connect()
hub.subscribe("topic=ask", lambda event: event["data"])
interrupts = 0
ended = False

def interrupt(*_):
    global interrupts
    interrupts += 1
    hub.publish(Event("from handler"))
    hub.unsubscribe(hub.subscribe(f"topic=t{interrupts % 10}", print))

def end(*_):
    global ended
    signal.setitimer(signal.ITIMER_REAL, 0)
    hub.ENDING
    ended = True
    # Python ignores it if the signal interrupts a finalizer or a callback of the garbage collector.
    raise SystemExit(0)

signal.signal(signal.SIGALRM, interrupt)
signal.signal(signal.SIGTERM, end)
signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
print("ready", flush=True)
end_at = time.monotonic() + 2
published = 0
while not ended:
    try:
        hub.publish(Event("ask", data={"n": published}))
        published += 1
        if published % 20 == 0:
            hub.drain() if whose == "memory" else hub.wait(0)
    except Exception:
        if not ended:
            raise
    if time.monotonic() > end_at:
        end_at = float("inf")
        print("stressed", interrupts, flush=True)
"""


@pytest.fixture(params=["ftrack", "rxhub", "nats", "memory"])
def arguments(request: pytest.FixtureRequest) -> Generator[list[str]]:
    """Arguments of the program: a kind of hub, and how it is made."""
    if request.param == "memory":
        yield ["memory", "memory://signal-handlers"]
    elif request.param == "nats":
        yield ["nats", *request.getfixturevalue("nats")]
    else:
        # A signal publishes three packets. If they exceeded the rate of the user, the program would never get its turn.
        with running(limits=Limits(events=1e6, events_at_once=10**6)) as server:
            yield [request.param, server.url, server.api_user, server.api_key]


@pytest.mark.parametrize("ending", ["disconnect()", "close()", "disconnect(unsubscribe=False)"])
def test_handlers_of_signals_may_publish_subscribe_and_end_the_hub(arguments: list[str], ending: str) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("ENDING", ending), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n", program.communicate(timeout=20)[1]
        assert program.stdout.readline().startswith("stressed"), program.communicate(timeout=20)[1]
        program.terminate()
        _, told = program.communicate(timeout=60)
    finally:
        program.kill()
    assert program.returncode == 0, told
