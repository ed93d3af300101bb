"""The bounded queue of messages to one client, with one writer.

Adding a message never waits, so a slow client does not delay others, and uses no more memory than its queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from rxhub.concurrency.wakeup import Wakeup
from rxhub.server.limits import SlowConsumer
from rxhub.server.loop_turns import LoopTurns

__all__ = ["SendQueue", "T", "send_steps"]


T = TypeVar("T", str, bytes)


def send_steps(text: str | bytes) -> int:
    """The steps of work to send a message, see `rxhub.server.limits.Limits.work`."""
    return 200 + len(text) // 100


class SendQueue(Generic[T]):
    """The queue of one connection.

    It holds `max_messages` and `max_characters` at most. A single message always fits.

    Attributes:
        sent: number of events that were sent.
        dropped: number of events dropped because the queue was full.
        overflowed: whether the queue was full and accepts no more messages.
    """

    def __init__(self, max_messages: int, max_characters: int, policy: SlowConsumer = SlowConsumer.DISCONNECT) -> None:
        self._max_messages = max_messages
        self._max_characters = max_characters
        self._policy = policy
        self._queue: deque[tuple[T, bool]] = deque()
        self._characters = 0
        self._wakeup = Wakeup()
        self._closed = False
        self.sent = 0
        self.dropped = 0
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_congested(self) -> bool:
        """Whether more than a quarter is used, so that the sender should slow down."""
        return len(self._queue) > self._max_messages // 4 or self._characters > self._max_characters // 4

    def put(self, text: T, is_event: bool = False) -> bool:
        """Add a message. The policy `DROP` may drop an event. False if the queue is closed or has overflowed."""
        if self._closed or self.overflowed:
            return False
        self._queue.append((text, is_event))
        self._characters += len(text)
        if len(self._queue) > self._max_messages or (self._characters > self._max_characters and len(self._queue) > 1):
            self._make_room()
        self._wakeup.set()
        return not self.overflowed

    def put_first(self, message: T) -> None:
        """Add a message before all others. It is not dropped."""
        if not (self._closed or self.overflowed):
            self._queue.appendleft((message, False))
            self._characters += len(message)
            self._wakeup.set()

    def close(self) -> None:
        """Accept no more messages. `write` returns when all have been sent."""
        self._closed = True
        self._wakeup.set()

    def clear(self) -> None:
        """Discard all messages and accept no more."""
        self.close()
        self._queue.clear()
        self._characters = 0

    async def write(self, send: Callable[[T], Awaitable[None]], turns: LoopTurns | None = None) -> None:
        """Send messages in order, until `close` or an overflow. Raises the errors of `send`.

        The writers of all connections share `turns`.
        """
        queue = self._queue
        while not self.overflowed:
            while queue and not self.overflowed:
                if turns is not None:
                    steps = send_steps(queue[0][0])
                    if not turns.is_free:
                        await turns.wait("", steps)
                        if not queue:  # it has overflowed or was cleared
                            break
                    turns.spend(steps)
                text, is_event = queue.popleft()
                self._characters -= len(text)
                await send(text)
                self.sent += is_event
            if self._closed or self.overflowed:
                return
            await self._wakeup.wait()

    def _make_room(self) -> None:
        if self._policy is SlowConsumer.DROP:
            self._drop_events()
        if len(self._queue) > self._max_messages or (self._characters > self._max_characters and len(self._queue) > 1):
            # No message may be dropped: the client publishes, and does not read its acknowledgements.
            self.overflowed = True
            self._queue.clear()
            self._characters = 0
            self._wakeup.set()

    def _drop_events(self) -> None:
        """Drop the oldest events until a quarter is free, so that the next ones need no search."""
        max_messages, max_characters = self._max_messages * 3 // 4, self._max_characters * 3 // 4
        kept: deque[tuple[T, bool]] = deque()
        left, characters = len(self._queue), self._characters
        for text, is_event in self._queue:
            if is_event and left > 1 and (left > max_messages or characters > max_characters):
                left -= 1
                characters -= len(text)
                self.dropped += 1
            else:
                kept.append((text, is_event))
        # In place, because the writer refers to this queue.
        self._queue.clear()
        self._queue.extend(kept)
        self._characters = characters
