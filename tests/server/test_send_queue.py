from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from rxhub.server.limits import SlowConsumer
from rxhub.server.send_queue import SendQueue


async def written(queue: SendQueue) -> list[str]:
    """The messages that a writer sends."""
    sent: list[str] = []

    async def send(text: str) -> None:
        sent.append(text)

    queue.close()
    await queue.write(send)
    return sent


def test_what_is_put_in_comes_out_in_order_also_later() -> None:
    async def main() -> None:
        queue = SendQueue(10, 1_000)
        sent: asyncio.Queue[str] = asyncio.Queue()
        writer = asyncio.create_task(queue.write(sent.put))
        for number in range(100):
            assert queue.put(str(number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        queue.close()
        assert not queue.put("late")
        await writer
        assert [sent.get_nowait() for _ in range(sent.qsize())] == [str(number) for number in range(100)]

    asyncio.run(main())


def test_it_is_full_at_so_many_messages_and_then_ends() -> None:
    queue = SendQueue(3, 1_000)
    assert [queue.put("x", is_event=True) for _ in range(5)] == [True, True, True, False, False]
    assert queue.overflowed
    assert len(queue) == 0
    assert asyncio.run(written(queue)) == []


def test_one_message_fits_however_long_and_no_second() -> None:
    queue = SendQueue(3, 10)
    assert queue.put("x" * 100)
    assert not queue.put("y")


def test_a_writer_that_is_held_up_ends_when_it_overflows() -> None:
    async def main() -> None:
        queue = SendQueue(2, 1_000)
        held = asyncio.Event()

        async def send(text: str) -> None:
            await held.wait()

        writer = asyncio.create_task(queue.write(send))
        queue.put("a")
        await asyncio.sleep(0)
        assert [queue.put("b") for _ in range(3)] == [True, True, False]
        held.set()
        await asyncio.wait_for(writer, 5)

    asyncio.run(main())


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=60), st.integers(1, 8), st.integers(1, 100))
def test_dropping_takes_the_oldest_events_and_nothing_else(messages, most: int, most_characters: int) -> None:
    queue = SendQueue(most, most_characters, SlowConsumer.DROP)
    texts: list[tuple[str, bool]] = []
    for number, (size, is_event) in enumerate(messages):
        text = f"{number}".ljust(size, ".")
        if queue.put(text, is_event):
            texts.append((text, is_event))
    if queue.overflowed:  # by messages that may not be dropped
        assert sum(not is_event for _, is_event in texts) >= 1
        return
    assert len(queue) <= most
    waiting = len(queue)
    sent = asyncio.run(written(queue))
    assert len(sent) == waiting == len(texts) - queue.dropped
    assert waiting <= 1 or sum(map(len, sent)) <= most_characters
    kept = [entry for entry in texts if not entry[1] or entry[0] in sent]
    assert sent == [text for text, _ in kept]
    events = [text for text, is_event in texts if is_event]
    assert [text for text in events if text in sent] == events[queue.dropped :]
