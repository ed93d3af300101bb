"""`hub.dead_letters`: events that groups failed to handle, stored until they are retried or dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Literal, Protocol, TypeVar

from rxhub.concurrency.event_loop import is_cancelling
from rxhub.errors import NotFoundError, StreamError
from rxhub.transport.nats.dead_letter import DeadLetter, tokens_of
from rxhub.transport.nats.publishing import MESSAGE_ID
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.streams import NO_CONSUMER, NO_MESSAGE, NO_STREAM
from rxhub.transport.nats.subjects import Subjects

__all__ = ["ALL", "DeadLetters", "StoredDeadLetters"]

ALL = "all"

_NO_SUCH_SEQUENCE = 10043
# The server refuses to delete a message before the first or after the last one with a general error, and these texts.
_DELETE_FAILED = 10057
_GONE = ("no message found", "stream store EOF")
# The server counts in 64 bits, and cannot read what lies beyond them.
_MOST_LETTERS = 2**63

T = TypeVar("T")


class LinkOwner(Protocol):
    """A connection whose loop runs coroutines for other threads."""

    @property
    def link(self) -> ReconnectingClient: ...

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T: ...


class DeadLetters:
    """The dead letters of a stream, of all groups. Every method waits for the server.

    Each raises `HubConnectionError` if the hub is not connected, or nobody answers.
    """

    def __init__(self, caller: LinkOwner, subjects: Subjects) -> None:
        self._caller = caller
        self._subjects = subjects

    def __repr__(self) -> str:
        return f"<DeadLetters of the stream {self._subjects.stream}>"

    def __len__(self) -> int:
        """The number of dead letters of all groups."""
        return self._call(lambda stored: stored.count())

    def __bool__(self) -> bool:
        """Always True, also without dead letters."""
        return True

    def list(self, group: str | None = None) -> Iterator[DeadLetter]:
        """Iterate over the dead letters, oldest first, each read on demand.

        Args:
            group: of which; None is all groups.
        """
        _check_group(group)
        next_id = 1
        while (letter := self._next(next_id, group)) is not None:
            yield letter
            next_id = letter.id + 1

    def get(self, id: int) -> DeadLetter:
        """One dead letter.

        Raises:
            NotFoundError: if there is none of this id.
        """
        return self._call(lambda stored: stored.get(id))

    def retry(self, id: int | Literal["all"], group: str | None = None) -> int:
        """Redeliver events to their groups, even if the subscription of a group does not match any more.

        No other group sees it. The letter goes when the event is stored for the group; who is interrupted between the
        two finds the letter still there, and may have the event handled twice.

        Args:
            id: of a dead letter, or "all" for the present ones.
            group: with "all", of which group; None is all groups.

        Returns:
            How many events will be handled again.

        Raises:
            NotFoundError: if there is no letter of this id, or its group is gone.
        """
        return self._call(lambda stored: stored.retry(id, group))

    def drop(self, id: int | Literal["all"], group: str | None = None) -> int:
        """Delete dead letters.

        Args:
            id: of a dead letter, or "all".
            group: with "all", of which group; None is all groups.

        Returns:
            How many were deleted.

        Raises:
            NotFoundError: if there is none of this id.
        """
        return self._call(lambda stored: stored.drop(id, group))

    def _next(self, id: int, group: str | None) -> DeadLetter | None:
        return self._call(lambda stored: stored.next(id, group))

    def _call(self, ask: Callable[[StoredDeadLetters], Coroutine[Any, Any, T]]) -> T:
        return self._caller.call(ask(StoredDeadLetters(self._caller.link, self._subjects)))


class StoredDeadLetters:
    """The same for the event loop of the connection; `DeadLetters` documents the methods.

    Args:
        link: the connection.
        subjects: of the stream.
    """

    def __init__(self, link: ReconnectingClient, subjects: Subjects) -> None:
        self._link = link
        self._subjects = subjects
        self._stream = subjects.dead_stream

    async def count(self) -> int:
        """The number of dead letters of all groups."""
        return (await self._state())["messages"]

    async def next(self, id: int, group: str | None = None) -> DeadLetter | None:
        """The first dead letter with this id or a later one; None if there is none."""
        filter = self._subjects.dead_letters if group is None else self._subjects.dead_of(group)
        try:
            found = await self._link.js_request(f"STREAM.MSG.GET.{self._stream}", {"seq": id, "next_by_subj": filter})
        except StreamError as error:
            if error.number in (NO_STREAM, NO_MESSAGE):
                return None
            raise
        return DeadLetter.read(self._subjects, found["message"])

    async def get(self, id: int) -> DeadLetter:
        """One dead letter."""
        letter = await self.next(min(_checked(id), _MOST_LETTERS))
        if letter is None or letter.id != id:
            raise NotFoundError(f"There is no dead letter {id} in {self._stream}; it may have been retried or dropped.")
        return letter

    async def retry(self, id: int | Literal["all"], group: str | None = None) -> int:
        """Redeliver events to their groups."""
        _check_group(group)
        known: set[str] = set()
        if id != ALL:
            await self._retry(await self.get(id), known)
            return 1
        # An event that fails again at once gets a later id.
        last, count = (await self._state())["last_seq"], 0
        next_id = 1
        while (letter := await self.next(next_id, group)) is not None and letter.id <= last:
            await self._retry(letter, known)
            count += 1
            next_id = letter.id + 1
            if is_cancelling():
                # nats-py may have lost the cancellation (see `cancel_and_wait`).
                raise asyncio.CancelledError
        return count

    async def drop(self, id: int | Literal["all"], group: str | None = None) -> int:
        """Delete dead letters."""
        _check_group(group)
        if id != ALL:
            await self._delete((await self.get(id)).id)
            return 1
        last = (await self._state())["last_seq"]
        if not last:
            return 0
        filter = self._subjects.dead_letters if group is None else self._subjects.dead_of(group)
        # Later dead letters are not included.
        body = {"filter": filter, "seq": last + 1}
        return (await self._link.js_request(f"STREAM.PURGE.{self._stream}", body))["purged"]

    async def _state(self) -> dict[str, Any]:
        try:
            return (await self._link.js_request(f"STREAM.INFO.{self._stream}"))["state"]
        except StreamError as error:
            if error.number != NO_STREAM:
                raise
            return {"messages": 0, "first_seq": 0, "last_seq": 0}

    async def _retry(self, letter: DeadLetter, known: set[str]) -> None:
        link, subjects = self._link, self._subjects
        # From the subject, since a dead letter without room for headers has no other.
        name = letter.subject.split(".")[2]
        if name not in known:
            try:
                await link.js_request(f"CONSUMER.INFO.{subjects.stream}.{name}")
            except StreamError as error:
                if error.number not in (NO_CONSUMER, NO_STREAM):
                    raise
                raise NotFoundError(
                    f"The dead letter {letter.id} cannot be retried, since its group {letter.group} is there no more. "
                    "Start a process of the group first; or publish the event anew, for all."
                ) from error
            known.add(name)
        subject = ".".join([subjects.stream, "retry", name, *tokens_of(letter.subject)])
        # The message id makes an interrupted retry safe to repeat. It includes the time, since a recreated stream
        # counts from 1 again.
        identifier = f"retry:{name}:{letter.died.isoformat()}:{letter.id}"
        await link.publish_and_wait(subject, letter.data, {MESSAGE_ID: identifier})
        await self._delete(letter.id)

    async def _delete(self, id: int) -> None:
        try:
            await self._link.js_request(f"STREAM.MSG.DELETE.{self._stream}", {"seq": id})
        except StreamError as error:
            # Another client was faster.
            is_gone = error.number == _DELETE_FAILED and error.description in _GONE
            if not is_gone and error.number not in (NO_MESSAGE, _NO_SUCH_SEQUENCE):
                raise


def _check_group(group: object) -> None:
    if group is not None and not isinstance(group, str):
        raise TypeError(f"A group is known by its name, but {group!r} was given; None is all groups.")


def _checked(id: object) -> int:
    if not isinstance(id, int) or isinstance(id, bool) or id < 1:
        raise TypeError(f'A dead letter is known by a number from 1 on, or all by "all", but {id!r} was given.')
    return id
