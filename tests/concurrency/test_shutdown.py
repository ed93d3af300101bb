"""SIGTERM and SIGINT shut down programs gracefully that wait by rxhub's own calls."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.testing import Nats
from tests.threads import LIMIT, until

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio, os, signal, sys, threading, time
from rxhub import Event, EventHub
from rxhub.concurrency import shutdown

url, user, password, stream = {nats!r}
hub = EventHub(url, user, password, stream=stream)

def say(*words):
    print(*words, flush=True)

async def is_listening():
    # The first event may come before the program waits.
    while not shutdown._watched:
        await asyncio.sleep(0.01)

def work(event):
    asyncio.run(is_listening())
    say("begun", event.data["value"])
    time.sleep(event.data["seconds"])
    say("done", event.data["value"])

async def awork(event):
    await is_listening()
    say("begun", event.data["value"])
    try:
        await asyncio.sleep(event.data["seconds"])
    except asyncio.CancelledError:
        raise OSError("cancelled") from None
    say("done", event.data["value"])

{body}
say("end")
"""


class Program:
    """A program that says what it does."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.lines: list[str] = []
        self.errors = ""

    def wait_for(self, *lines: str) -> None:
        assert self._process.stdout is not None
        while not set(lines) <= set(self.lines):
            line = self._process.stdout.readline()
            assert line, (self.lines, "the program has ended")
            self.lines.append(line.rstrip())

    def signal(self, number: Signals) -> None:
        self._process.send_signal(number)

    def signal_group(self, number: Signals) -> None:
        """Signal it and the programs that it runs, as Ctrl-C at a terminal does."""
        os.killpg(self._process.pid, number)

    @property
    def is_over(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> int:
        out, self.errors = self._process.communicate(timeout=2 * LIMIT)
        self.lines += out.splitlines()
        return self._process.returncode


@contextmanager
def program(nats: Nats, body: str) -> Iterator[Program]:
    script = PROGRAM.format(nats=(nats.url, nats.user, nats.password, nats.stream), body=body)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, text=True, process_group=0, **pipes)
    try:
        yield Program(process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def hub(nats: Nats) -> Iterator[EventHub]:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as made:
        made.connect()
        made.process("topic=a", print, group="g").stop()
        yield made


def publish(hub: EventHub, *seconds: float) -> None:
    for value, each in enumerate(seconds):
        future: Any = hub.publish(Event("a", data={"value": value, "seconds": each}))
        future.result(LIMIT)


def left(hub: EventHub, nats: Nats) -> tuple[int, int]:
    """How many events of the group are not handled, and how many are dead letters."""
    (state,) = [stream for stream in hub.streams() if stream.name == nats.stream]
    return sum(group.waiting + group.pending for group in state.groups), state.dead


# Processing has connections of its own, and so needs no other.
QUIET = """
import warnings
from rxhub.errors import NotConnectedWarning
warnings.simplefilter("error", NotConnectedWarning)
"""
WAYS = {
    "wait": 'hub.process("topic=a", work, group="g", retries=0).wait()',
    "serve_forever": QUIET + 'hub.process("topic=a", work, group="g", retries=0); hub.serve_forever()',
    "handled elsewhere": 'hub.process("topic=a", work, group="g", retries=0); hub.start(); hub.serve_forever()',
    "await": """
async def main():
    await hub.process("topic=a", awork, group="g", retries=0)
asyncio.run(main())
""",
    "aserve_forever": QUIET
    + """
async def main():
    hub.process("topic=a", awork, group="g", retries=0)
    await hub.aserve_forever()
asyncio.run(main())
""",
}


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
@pytest.mark.parametrize("way", WAYS)
def test_what_runs_is_finished_and_the_rest_is_handed_back(
    hub: EventHub, nats: Nats, way: str, number: Signals
) -> None:
    with program(nats, WAYS[way]) as running:
        publish(hub, 1.5, 0.0, 0.0)
        running.wait_for("begun 0")
        running.signal(number)
        assert running.end() == 0
    assert running.lines == ["begun 0", "done 0", "end"]
    until(lambda: left(hub, nats) == (2, 0))


RUNS_A_PROGRAM = """
import subprocess
def run(event):
    asyncio.run(is_listening())
    child = subprocess.Popen(["sleep", "600"])
    say("begun")
    if status := child.wait():
        raise subprocess.CalledProcessError(status, child.args)
async def arun(event):
    await is_listening()
    child = await asyncio.create_subprocess_exec("sleep", "600")
    say("begun")
    if status := await child.wait():
        raise subprocess.CalledProcessError(status, "sleep")
"""


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
@pytest.mark.parametrize("way", WAYS)
def test_a_signal_to_the_process_group_ends_a_worker_cleanly(
    hub: EventHub, nats: Nats, way: str, number: Signals
) -> None:
    """The program that the handler runs gets the signal too, before or after the worker."""
    publish(hub, 0.0)
    body = RUNS_A_PROGRAM + WAYS[way].replace("awork", "arun").replace("work", "run")
    with program(nats, body) as running:
        running.wait_for("begun")
        running.signal_group(number)
        assert running.end() == 0, running.errors
    assert running.lines[-1] == "end" and "Traceback" not in running.errors
    assert left(hub, nats) == (1, 0)


@pytest.mark.parametrize("way", ["await hub.process({})", "hub.process({}); await hub.aserve_forever(grace=0.2)"])
def test_repeated_shutdowns_make_no_dead_letter_of_a_long_job(hub: EventHub, nats: Nats, way: str) -> None:
    publish(hub, 600.0)
    call = way.format('"topic=a", awork, group="g", retries=1')
    body = f"async def main():\n    {call}\nasyncio.run(main())"
    body = "from rxhub.transport.nats.processing import processing\nprocessing.GRACE_S = 0.2\n" + body
    for _ in range(4):
        with program(nats, body) as running:
            running.wait_for("begun 0")
            running.signal(SIGTERM)
            assert running.end() == 0
    assert left(hub, nats) == (1, 0)


def test_repeated_shutdowns_make_no_dead_letter_of_a_long_job_in_a_thread(hub: EventHub, nats: Nats) -> None:
    publish(hub, 600.0)
    body = """
from rxhub.transport.nats.processing import group
group.ACK_WAIT_S = 1.0
hub.process("topic=a", work, group="g", retries=1).wait(grace=0.1)
"""
    for _ in range(4):
        with program(nats, body) as running:
            running.wait_for("begun 0")
            running.signal(SIGTERM)
            assert running.end() == 0
    assert left(hub, nats) == (1, 0)


def test_a_second_signal_ends_the_program_at_once(hub: EventHub, nats: Nats) -> None:
    with program(nats, 'hub.process("topic=a", work, group="g").wait()') as running:
        publish(hub, 600.0)
        running.wait_for("begun 0")
        until(lambda: running.signal(SIGTERM) or running.is_over)
        assert running.end() == -SIGTERM
    assert "end" not in running.lines


def test_handlers_of_the_program_are_called_and_put_back(hub: EventHub, nats: Nats) -> None:
    body = """
def own(number, frame):
    say("own")
signal.signal(signal.SIGTERM, own)
hub.process("topic=a", work, group="g").wait()
say(signal.getsignal(signal.SIGTERM) is own, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    with program(nats, body) as running:
        publish(hub, 0.5)
        running.wait_for("begun 0")
        running.signal(SIGTERM)
        assert running.end() == 0
    assert running.lines == ["begun 0", "own", "done 0", "True True", "end"]


def test_ignored_signals_stay_ignored(hub: EventHub, nats: Nats) -> None:
    body = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
hub.process("topic=a", work, group="g").wait()
"""
    with program(nats, body) as running:
        publish(hub, 0.0)
        running.wait_for("done 0")
        running.signal(SIGINT)
        publish(hub, 0.0)
        running.wait_for("done 0")
        running.signal(SIGTERM)
        assert running.end() == 0


def test_one_signal_ends_all_processings_of_a_program(hub: EventHub, nats: Nats) -> None:
    body = """
one = hub.process("topic=a", work, group="g")
two = EventHub(url, user, password, stream=stream).process("topic=b", work, group="other")
one.wait()
two.wait()
"""
    with program(nats, body) as running:
        publish(hub, 0.3)
        running.wait_for("begun 0")
        running.signal(SIGTERM)
        assert running.end() == 0


def test_another_thread_waits_without_touching_signals(hub: EventHub, nats: Nats) -> None:
    body = """
processing = hub.process("topic=a", work, group="g")
before = signal.getsignal(signal.SIGTERM)
waiting = threading.Thread(target=processing.wait)
waiting.start()
say(signal.getsignal(signal.SIGTERM) is before)
processing.stop()
waiting.join()
"""
    with program(nats, body) as running:
        assert running.end() == 0
    assert running.lines == ["True", "end"]


def test_a_forked_child_has_the_handlers_of_before(hub: EventHub, nats: Nats) -> None:
    # Python drops signals that come while it prepares a child, so the child says when it is ready.
    body = """
def fork(event):
    asyncio.run(is_listening())
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        os.write(tell, b"x")
        time.sleep(60)
        os._exit(1)
    os.read(ready, 1)
    os.kill(child, signal.SIGTERM)
    say("child", os.waitpid(child, 0)[1])

hub.process("topic=a", fork, group="g").wait()
"""
    with program(nats, body) as running:
        publish(hub, 0.0)
        running.wait_for(f"child {int(SIGTERM)}")
        running.signal(SIGTERM)
        assert running.end() == 0


def test_a_hub_without_groups_is_served_until_a_signal(nats: Nats) -> None:
    body = """
hub = EventHub()
hub.subscribe("topic=a", work)
hub.publish(Event("a", data={"value": 1, "seconds": 0.5}))
hub.serve_forever()
"""
    with program(nats, body) as running:
        running.wait_for("begun 1")
        running.signal(SIGTERM)
        assert running.end() == 0
    assert running.lines == ["begun 1", "done 1", "end"]


def test_serving_ends_by_what_ends_a_group(hub: EventHub, nats: Nats) -> None:
    body = """
hub.process("topic=a", work, group="g")
say("ready")
try:
    hub.serve_forever()
except Exception as error:
    say(type(error).__name__)
"""
    with program(nats, body) as running:
        running.wait_for("ready")
        hub.process("topic=b", print, group="g", replace=True)
        assert running.end() == 0
    assert running.lines == ["ready", "GroupError", "end"]
