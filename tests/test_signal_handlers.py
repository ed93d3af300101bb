"""A signal handler may call the hub at any point: nothing hangs, and what was published arrives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rxhub.server import running

ROOT = Path(__file__).parents[1]

PROGRAM = """
import faulthandler, signal, sys, time
faulthandler.dump_traceback_later(60, exit=True)
whose, url, user, key = sys.argv[1:]
if whose == "ftrack":
    from rxhub.compat.ftrack.base import Event
    from rxhub.compat.ftrack.hub import EventHub
else:
    from rxhub import Event, EventHub
hub = EventHub(url, user, key)
hub.connect()
hub.subscribe("topic=ask", lambda event: event["data"])
interrupts = 0

def interrupt(*_):
    global interrupts
    interrupts += 1
    hub.publish(Event("from handler"))
    hub.unsubscribe(hub.subscribe(f"topic=t{interrupts % 10}", print))

def end(*_):
    signal.setitimer(signal.ITIMER_REAL, 0)
    hub.ENDING
    raise SystemExit(0)

signal.signal(signal.SIGALRM, interrupt)
signal.signal(signal.SIGTERM, end)
signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
print("ready", flush=True)
end_at = time.monotonic() + 2
published = 0
while True:
    hub.publish(Event("ask", data={"n": published}))
    published += 1
    if published % 20 == 0:
        hub.wait(0)
    if time.monotonic() > end_at:
        end_at = float("inf")
        print("stressed", interrupts, flush=True)
"""


@pytest.mark.parametrize("whose", ["ftrack", "rxhub"])
@pytest.mark.parametrize("ending", ["disconnect()", "close()", "disconnect(unsubscribe=False)"])
def test_handlers_of_signals_may_publish_subscribe_and_end_the_hub(whose: str, ending: str) -> None:
    code = PROGRAM.replace("ENDING", ending)
    with running() as server:
        program = subprocess.Popen(
            [
                sys.executable,
                "-c",
                code,
                whose,
                server.url,
                server.api_user,
                server.api_key,
            ],
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
