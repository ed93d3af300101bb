"""A task is woken from any thread, and no call of `set` is lost."""

from __future__ import annotations

import asyncio
from threading import Thread

from rxhub.concurrency.wakeup import Wakeup


def test_set_before_wait_is_remembered_once() -> None:
    async def main() -> None:
        wakeup = Wakeup()
        wakeup.set()
        wakeup.set()
        assert await wakeup.wait()
        assert not await wakeup.wait(0.001)

    asyncio.run(main())


def test_clear_forgets_an_earlier_set() -> None:
    async def main() -> None:
        wakeup = Wakeup()
        wakeup.set()
        wakeup.clear()
        assert not await wakeup.wait(0.001)

    asyncio.run(main())


def test_a_waiting_task_is_woken_on_its_own_loop() -> None:
    async def main() -> None:
        wakeup = Wakeup()
        task = asyncio.create_task(wakeup.wait())
        await asyncio.sleep(0)
        wakeup.set()
        assert await task

    asyncio.run(main())


def test_no_call_of_another_thread_is_lost() -> None:
    async def main() -> None:
        wakeup, items, seen = Wakeup(), list[int](), 0

        def produce() -> None:
            for number in range(5_000):
                items.append(number)
                wakeup.set()

        thread = Thread(target=produce)
        thread.start()
        async with asyncio.timeout(60):
            while seen < 5_000:
                if seen == len(items):
                    await wakeup.wait()
                seen = len(items)
        thread.join()

    asyncio.run(main())


def test_setting_it_after_its_loop_was_closed_does_nothing() -> None:
    wakeup = Wakeup()
    loop = asyncio.new_event_loop()
    task = loop.create_task(wakeup.wait())
    loop.run_until_complete(asyncio.sleep(0))
    waiting = wakeup._waiter
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    wakeup._waiter = waiting
    wakeup.set()


def test_a_cancelled_wait_leaves_it_usable() -> None:
    async def main() -> None:
        wakeup = Wakeup()
        task = asyncio.create_task(wakeup.wait())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        wakeup.set()
        assert await wakeup.wait()

    asyncio.run(main())
