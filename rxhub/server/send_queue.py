"""What waits to be sent to one client: one bounded queue, one writer.

Whoever puts something in never waits. So one client that does not read holds up nobody, and takes no more memory than
its queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from rxhub.concurrency.wakeup import Wakeup
from rxhub.server.limits import SlowConsumer
from rxhub.server.loop_turns import LoopTurns

__all__ = ["SendQueue", "send_steps"]


def send_steps(text: str) -> int:
    """The steps of work of sending a message, see `rxhub.server.limits.Limits.work`."""
    return 200 + len(text) // 100


class SendQueue:
    """The queue of one connection.

    Args:
        most: messages at most.
        most_characters: characters at most; one message always fits.
        policy: what happens when it is full.

    Attributes:
        dropped: events that were dropped because it was full.
        overflowed: it was full, by the policy to disconnect: nothing is taken any more.
    """

    __slots__ = (
        "_characters",
        "_closed",
        "_most",
        "_most_characters",
        "_policy",
        "_queue",
        "_wakeup",
        "dropped",
        "overflowed",
    )

    def __init__(self, most: int, most_characters: int, policy: SlowConsumer = SlowConsumer.DISCONNECT) -> None:
        self._most = most
        self._most_characters = most_characters
        self._policy = policy
        self._queue: deque[tuple[str, bool]] = deque()
        self._characters = 0
        self._wakeup = Wakeup()
        self._closed = False
        self.dropped = 0
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_congested(self) -> bool:
        """Whether a quarter of it is full, and so what is under way to it should wait."""
        return len(self._queue) > self._most // 4 or self._characters > self._most_characters // 4

    def put(self, text: str, is_event: bool = False) -> bool:
        """Take a message.

        Args:
            text: the packet.
            is_event: it may be dropped, by the policy to drop; acknowledgements and heartbeats are not.

        Returns:
            Whether the connection can go on. False from the moment on in which the queue overflowed.
        """
        if self._closed or self.overflowed:
            return False
        self._queue.append((text, is_event))
        self._characters += len(text)
        if len(self._queue) > self._most or (self._characters > self._most_characters and len(self._queue) > 1):
            self._make_room()
        self._wakeup.set()
        return not self.overflowed

    def close(self) -> None:
        """Take nothing new; `write` ends when everything has been sent."""
        self._closed = True
        self._wakeup.set()

    def clear(self) -> None:
        """Forget what waits; take nothing new."""
        self.close()
        self._queue.clear()
        self._characters = 0

    async def write(self, send: Callable[[str], Awaitable[None]], turns: LoopTurns | None = None) -> None:
        """Send what is there and what comes, in order; ends after `close` and on an overflow.

        Whatever `send` raises ends it as well.

        Args:
            send: sends one message.
            turns: shared with the writers of all other connections.
        """
        queue = self._queue
        while not self.overflowed:
            while queue and not self.overflowed:
                if turns is not None:
                    steps = send_steps(queue[0][0])
                    if not turns.is_free:
                        await turns.wait("", steps)
                        if not queue:  # it has overflowed or was cleared meanwhile
                            break
                    turns.spend(steps)
                text, _ = queue.popleft()
                self._characters -= len(text)
                await send(text)
            if self._closed or self.overflowed:
                return
            await self._wakeup.wait()

    def _make_room(self) -> None:
        if self._policy is SlowConsumer.DROP:
            self._drop_events()
        if len(self._queue) > self._most or (self._characters > self._most_characters and len(self._queue) > 1):
            # Nothing that waits may be dropped: a client that publishes, and never reads its acknowledgements.
            self.overflowed = True
            self._queue.clear()
            self._characters = 0
            self._wakeup.set()

    def _drop_events(self) -> None:
        """Drop the oldest events until a quarter is free, so that the next ones do not each search again."""
        most, most_characters = self._most * 3 // 4, self._most_characters * 3 // 4
        kept: deque[tuple[str, bool]] = deque()
        left, characters = len(self._queue), self._characters
        for text, is_event in self._queue:
            if is_event and left > 1 and (left > most or characters > most_characters):
                left -= 1
                characters -= len(text)
                self.dropped += 1
            else:
                kept.append((text, is_event))
        # In place: the writer holds on to this queue.
        self._queue.clear()
        self._queue.extend(kept)
        self._characters = characters
