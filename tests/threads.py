"""Threads that tests start: bounded, joined, and with their exceptions told."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any, Self

__all__ = ["LIMIT", "at_once", "eager_collection", "elsewhere", "run_script", "suspend", "until"]

LIMIT = 20.0
"""Seconds after which something hangs: far more than anything takes."""


class elsewhere:  # noqa: N801 - reads as what it does: `with elsewhere(hub.wait):`
    """A call in another thread; at the end of the block it has ended, and what it raised is raised."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.result: Any = None
        self.error: BaseException | None = None

        def run() -> None:
            try:
                self.result = call(*arguments)
            except BaseException as error:
                self.error = error

        self.thread = Thread(target=run, daemon=True)
        self.thread.start()

    def join(self) -> Any:
        self.thread.join(LIMIT)
        assert not self.thread.is_alive(), "a thread of this test hangs"
        if self.error is not None:
            raise self.error
        return self.result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.join()


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Each call in a thread of its own, all at the same time; their results."""
    return [call.join() for call in [elsewhere(call) for call in calls]]


def until(condition: Callable[[], object], limit: float = LIMIT) -> None:
    """Wait for what another thread brings about, for `limit` seconds at most."""
    end = monotonic() + limit
    while not condition():
        assert monotonic() < end, "what this test waits for does not come"
        sleep(0.005)


@contextmanager
def eager_collection() -> Iterator[None]:
    """The garbage collector, and with it finalizers, runs every few allocations."""
    before = gc.get_threshold()
    gc.set_threshold(5, 2, 2)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.collect()


def run_script(script: str) -> str:
    """What a program of its own prints; it must end in time and without an error."""
    root = Path(__file__).parent.parent
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.stdout


def suspend(pid: int) -> None:
    """Stop a process as if it hung, and return once all of its threads are stopped. SIGCONT resumes it."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    until(lambda: all(each.read_text().rpartition(")")[2].split()[0] == "T" for each in threads.glob("*/stat")))
