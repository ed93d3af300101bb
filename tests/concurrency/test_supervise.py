"""Long-lived tasks: an unexpected error is logged, counted and acted upon."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from rxhub.concurrency import supervise as module
from rxhub.concurrency.supervise import failures, supervise
from tests.threads import run_script


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(module, "_LONGEST_PAUSE_S", 0.0)
    failures.clear()


def test_an_unexpected_error_is_logged_and_counted_when_it_happens(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Exception] = []

    async def work() -> None:
        raise KeyError("broken")

    async def run() -> None:
        task = supervise(work, "test", failed=told.append)
        await asyncio.wait([task])
        with pytest.raises(KeyError):
            await task

    asyncio.run(run())
    assert failures == {"test": 1}
    assert [type(error) for error in told] == [KeyError]
    (record,) = caplog.records
    assert "'test'" in record.getMessage() and "broken" in record.getMessage()
    assert record.exc_info is not None and record.exc_info[0] is KeyError


def test_an_expected_error_is_the_creator_s(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ConnectionResetError

    async def run() -> None:
        with pytest.raises(ConnectionResetError):
            await supervise(work, "test", expected=(OSError,))

    asyncio.run(run())
    assert not failures and not caplog.records


def test_work_is_restarted_until_it_succeeds_or_is_cancelled() -> None:
    attempts: list[int] = []

    async def work() -> int:
        attempts.append(1)
        if len(attempts) < 4:
            raise ValueError(len(attempts))
        return 7

    async def for_ever() -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        assert await supervise(work, "test", restart=True) == 7
        task = supervise(for_ever, "test", restart=True)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(run())
    assert failures == {"test": 3}


def test_a_cancellation_that_nobody_asked_for_is_an_error() -> None:
    async def work() -> None:
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled

    async def run() -> None:
        with pytest.raises(RuntimeError, match="was cancelled"):
            await supervise(work, "test")

    asyncio.run(run())
    assert failures == {"test": 1}


def test_a_task_that_nobody_holds_is_kept_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    async def work(wake: asyncio.Future[None]) -> None:
        await wake
        raise ValueError

    async def run() -> None:
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        supervise(lambda: work(wake), "test")
        await asyncio.sleep(0)
        gc.collect()
        wake.set_result(None)
        for _ in range(5):
            await asyncio.sleep(0)
        gc.collect()

    asyncio.run(run())
    assert failures == {"test": 1}
    assert [record.name for record in caplog.records] == ["rxhub"]


def test_the_network_thread_survives_a_system_exit_in_a_callback() -> None:
    assert run_script("""
import asyncio, logging, sys
from rxhub.transport.io_thread import io_loop
logging.basicConfig(handlers=[logging.NullHandler()])
loop = io_loop()
loop.call_soon_threadsafe(sys.exit, 3)
async def alive(): return "alive"
print(asyncio.run_coroutine_threadsafe(alive(), loop).result(10))
""").split() == ["alive"]


def test_a_failing_callback_of_failed_is_not_lost() -> None:
    def failed(_: Any) -> None:
        raise LookupError

    async def work() -> None:
        raise ValueError

    async def run() -> None:
        with pytest.raises(LookupError):
            await supervise(work, "test", failed=failed)

    asyncio.run(run())
    assert failures == {"test": 1}
