"""Runs several worker processes: restarts those that crash, and stops all of them together."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from rxhub.concurrency.backoff import Backoff
from rxhub.concurrency.supervise import supervise
from rxhub.telemetry.counts import METRICS_VARIABLE, PROCESS_VARIABLE
from rxhub.telemetry.probes import Check, LoopLag, Readiness
from rxhub.worker.control import REPORT_INTERVAL_S, VARIABLE, read_report
from rxhub.worker.readiness import MAX_LIVE_LAG_S, liveness
from rxhub.worker.worker import EXIT_MARGIN_S

__all__ = ["Supervisor"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
# A process that crashes after this time is restarted after the first pause again.
_STABLE_S = 60.0
# A process that reports nothing for so long is not ready.
_SILENCE_S = 10 * REPORT_INTERVAL_S
# Processes end themselves before this.
_KILL_MARGIN_S = EXIT_MARGIN_S + 0.5
_CANNOT_START = 2

logger = logging.getLogger("rxhub.worker")


@dataclass(slots=True)
class _Slot:
    """One of the processes, and its successors after crashes."""

    number: int
    process: asyncio.subprocess.Process | None = None
    line: asyncio.StreamWriter | None = None
    trouble: str = "it has not started yet"  # why there is no process
    report: Readiness = field(default_factory=Readiness)
    reported_at: float = 0.0
    was_ready: bool = False

    @property
    def checks(self) -> list[Check]:
        name = f"process {self.number}"
        if self.process is None:
            return [Check(name, self.trouble)]
        if monotonic() - self.reported_at > _SILENCE_S:
            return [Check(name, f"it has not reported for {_SILENCE_S:g} s")]
        return [Check(name, self.report.reason)]


class Supervisor:
    """Runs `command` in several processes until SIGTERM or SIGINT, or until all have ended without an error.

    A process that crashes is restarted, with delays that grow from half a second to 30 seconds. Processes that cannot
    start at first, for example because a module is missing, end the supervisor. The processes share their metrics in
    `metrics_directory`, if there is one.
    """

    def __init__(
        self, command: Sequence[str], processes: int, grace: float, metrics_directory: str | None = None
    ) -> None:
        self._command = command
        self._grace = grace
        self._metrics_directory = metrics_directory
        self._slots = [_Slot(number) for number in range(1, processes + 1)]
        self._stopping: asyncio.Event | None = None
        self._signals: list[int] = []
        self._status = 0
        self._lag: LoopLag | None = None

    def readiness(self) -> Readiness:
        """Whether all processes are ready."""
        is_stopping = self._stopping is not None and self._stopping.is_set()
        running = Check("running", "the workers are stopping" if is_stopping else "")
        return Readiness((running, *(check for slot in self._slots for check in slot.checks)))

    def liveness(self) -> Readiness:
        """Whether the supervisor works, and all processes still report."""
        late = [
            Check(f"process {slot.number}", f"it has not reported for {MAX_LIVE_LAG_S:g} s")
            for slot in self._slots
            if slot.process is not None and monotonic() - slot.reported_at > MAX_LIVE_LAG_S
        ]
        return Readiness((*liveness(self._lag).checks, *late))

    def run(self) -> int:
        """Run the processes; the exit status."""
        return asyncio.run(self._run())

    async def _run(self) -> int:
        self._lag = LoopLag()
        self._stopping = stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_signal, number)
        keeping = [
            supervise(lambda slot=slot: self._keep(slot), f"worker process {slot.number}") for slot in self._slots
        ]
        try:
            stopped = asyncio.create_task(stopping.wait())
            everything = asyncio.gather(*keeping)
            await asyncio.wait([stopped, everything], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            for slot in self._slots:
                if slot.line is not None:
                    slot.line.close()
            await asyncio.wait([everything], timeout=self._grace + _KILL_MARGIN_S)
        finally:
            self._kill()
        await asyncio.wait(keeping)
        return self._status

    def _on_signal(self, number: int) -> None:
        self._signals.append(number)
        if len(self._signals) > 1:
            self._kill()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        assert self._stopping is not None
        logger.info("%s: stopping %d processes.", signal.Signals(number).name, len(self._slots))
        self._stopping.set()

    def _kill(self) -> None:
        for slot in self._slots:
            if slot.process is not None:
                logger.warning("Process %d (pid %d) is killed.", slot.number, slot.process.pid)
                with suppress(ProcessLookupError):
                    slot.process.kill()

    async def _keep(self, slot: _Slot) -> None:
        """Run the process of a slot, and restart it after crashes."""
        assert self._stopping is not None
        backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        while not self._stopping.is_set():
            began = monotonic()
            try:
                status = await self._run_process(slot)
            except OSError as error:
                logger.error("Process %d could not be started: %s", slot.number, error)
                status = 1
            slot.process, slot.trouble = None, "it has ended"
            if status == 0 or self._stopping.is_set():
                return
            if status == _CANNOT_START and not any(each.was_ready for each in self._slots):
                # The process has printed the reason.
                self._status = status
                self._stopping.set()
                return
            if monotonic() - began > _STABLE_S:
                backoff.reset()
            delay = backoff.delay()
            how = f"status {status}" if status >= 0 else signal.Signals(-status).name
            slot.trouble = f"it crashed with {how} and is restarted"
            logger.error("Process %d crashed with %s; restarting it in %.2g s.", slot.number, how, delay)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def _run_process(self, slot: _Slot) -> int:
        directory = self._metrics_directory
        shared_name = f"worker-{slot.number}"
        variables = {} if directory is None else {METRICS_VARIABLE: directory, PROCESS_VARIABLE: shared_name}
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                env=os.environ | variables | {VARIABLE: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                # Ctrl-C reaches the supervisor only.
                process_group=0,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        slot.report, slot.reported_at = Readiness((Check("running", "it is starting"),)), monotonic()
        slot.process = process
        reader, slot.line = await asyncio.open_connection(sock=ours)
        assert self._stopping is not None
        if self._stopping.is_set():
            slot.line.close()
        try:
            with suppress(OSError):
                while line := await reader.readline():
                    slot.report, slot.reported_at = read_report(line), monotonic()
                    slot.was_ready = slot.was_ready or slot.report.is_ready
            return await process.wait()
        finally:
            if directory is not None:
                from rxhub.telemetry.metrics import process_ended

                process_ended(shared_name, directory)
            slot.line.close()
            slot.line = None
