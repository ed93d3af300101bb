"""Who waits for replies to which event."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from typing import Any

import pytest

from rxhub import Dispatcher, Event
from rxhub.errors import EventError
from rxhub.expression import Dialect, parse
from rxhub.hub.replies import Replies, address
from tests.forked import while_held
from tests.threads import at_once, eager_collection, elsewhere

COLOUR: ContextVar[str] = ContextVar("COLOUR", default="none")


def reply(to: Any, data: Any = None) -> Event:
    return Event("ftrack.meta.reply", data=data, in_reply_to_event=to)


def fail(event: Event) -> None:
    raise ValueError(event.data)


def test_a_listener_gets_the_replies_to_its_event_until_it_leaves() -> None:
    replies, got = Replies(), []
    listening = replies.listen("x", lambda event: got.append(event.data))
    for to, data in (("x", 1), ("y", 2), ("x", 3), (None, 4)):
        replies.handle(reply(to, data))
    assert got == [1, 3] and len(replies) == 1
    listening.dispose()
    listening.dispose()
    replies.handle(reply("x", 5))
    assert got == [1, 3] and len(replies) == 0 and replies._listeners == {}


def test_several_may_listen_for_one_event() -> None:
    replies, got = Replies(), []
    first = replies.listen("x", lambda event: got.append(1))
    replies.listen("x", lambda event: got.append(2))
    replies.handle(reply("x"))
    first.dispose()
    replies.handle(reply("x"))
    assert got == [1, 2, 2]


def test_listeners_leave_when_their_time_is_over() -> None:
    replies = Replies(lifetime=0)
    for n in range(10):
        replies.listen(n, pytest.fail)
        replies.handle(reply(n))
    assert len(replies) == 0 and replies._listeners == {}


def test_there_are_never_more_than_the_bound_the_oldest_leave() -> None:
    replies, got = Replies(capacity=100), []
    for n in range(1000):
        replies.listen(n, lambda event: got.append(event.in_reply_to_event))
    assert len(replies) == 100 == len(replies._listeners)
    for n in range(1000):
        replies.handle(reply(n))
    assert got == list(range(900, 1000))


@pytest.mark.parametrize("to", [[], {}, {"a": 1}, None, "", 5, ("a", "b"), "\ud800"])
def test_a_reply_to_nothing_known_is_nobodys(to: Any) -> None:
    replies = Replies()
    replies.listen("x", pytest.fail)
    assert replies.handle(reply(to)) is None
    without = reply("x")
    del without["in_reply_to_event"]
    assert replies.handle(without) is None


def test_a_listener_that_raises_is_an_error_of_the_callback_after_all_were_called() -> None:
    replies, got = Replies(), []
    replies.listen("x", fail)
    replies.listen("x", lambda event: got.append(event.data))
    with pytest.raises(ValueError, match="1"):
        replies.handle(reply("x", 1))
    replies.listen("x", fail)
    with pytest.raises(ExceptionGroup, match="2 reply callbacks failed"):
        replies.handle(reply("x", 2))
    assert got == [1, 2]


def test_coroutine_functions_are_awaited() -> None:
    replies, dispatcher, got = Replies(), Dispatcher(), []
    dispatcher.subscribe("topic=ftrack.meta.reply", replies.handle)

    async def listener(event: Event) -> None:
        await asyncio.sleep(0)
        got.append((event.data, COLOUR.get()))
        if event.data == 2:
            fail(event)

    token = COLOUR.set("red")
    replies.listen("x", listener)
    COLOUR.reset(token)
    replies.listen("x", lambda event: fail(event) if event.data == 2 else None)

    async def main() -> list[Any]:
        return [(await dispatcher.dispatch_async(reply("x", n))).errors for n in (1, 2, 3)]

    errors = asyncio.run(main())
    assert got == [(1, "red"), (2, "red"), (3, "red")]
    assert [len(each) for each in errors] == [0, 1, 0]
    assert isinstance(errors[1][0], ExceptionGroup)


def test_a_listener_runs_in_a_copy_of_the_context_in_which_it_was_given() -> None:
    replies, seen = Replies(), []

    def listener(event: Event) -> None:
        seen.append(COLOUR.get())
        COLOUR.set("lost")

    for colour in ("red", "blue"):
        token = COLOUR.set(colour)
        replies.listen("x", listener)
        COLOUR.reset(token)
    replies.handle(reply("x"))
    replies.handle(reply("x"))
    assert seen == ["red", "blue"] * 2


def test_a_listener_may_leave_and_come_while_replies_are_handled() -> None:
    replies, got = Replies(), []

    def first(event: Event) -> None:
        listening.dispose()
        replies.listen("x", lambda event: got.append("new"))
        got.append("first")

    listening = replies.listen("x", first)
    replies.handle(reply("x"))
    replies.handle(reply("x"))
    assert got == ["first", "new"]


def test_many_threads_may_listen_and_leave() -> None:
    replies = Replies(capacity=50)

    def work(who: int) -> None:
        for n in range(300):
            listening = replies.listen((who, n % 7), lambda event: None)
            replies.handle(reply((who, n % 7)))
            if n % 2:
                listening.dispose()

    at_once(*(lambda who=who: work(who) for who in range(4)))
    assert len(replies) <= 50
    assert sum(len(each) for each in replies._listeners.values()) == len(replies)


def test_a_finalizer_may_leave_in_the_middle_of_a_change() -> None:
    replies = Replies()

    class Owner:
        def __init__(self) -> None:
            self.cycle, self.listening = self, replies.listen("x", lambda event: None)

        def __del__(self) -> None:
            self.listening.dispose()

    def work() -> None:
        for _ in range(500):
            Owner()
            replies.handle(reply("x"))

    with eager_collection(), elsewhere(work):
        pass
    gc.collect()
    assert len(replies) == 0


def test_a_child_process_has_a_free_lock_and_no_listeners() -> None:
    replies = Replies()
    replies.listen("x", pytest.fail)

    def check() -> bool:
        replies.handle(reply("x"))
        return len(replies) == 0

    assert while_held(replies._lock, check)


# Addresses


@pytest.mark.parametrize(
    "asker", ["9f" * 16, "12345", "1e5", "true", "a.b-c_d", "and", "me@host", "with blank", 'a"b', "a'b", "é", 5]
)
def test_the_target_of_a_reply_is_the_asker_alone(asker: Any) -> None:
    for dialect in Dialect:
        target = parse(address(asker), dialect)
        assert target.matches({"id": asker})
        assert not target.matches({"id": f"{asker}x"}) and not target.matches({"id": f"x{asker}"})
        assert not target.matches({})


def test_it_is_written_as_ftrack_writes_it() -> None:
    assert address("9f" * 16) == "id=" + "9f" * 16


@pytest.mark.parametrize("asker", ["*", "a*", "**", "", "both ' and \"", 'x" or id="*', "x' or id='*", "a\\"])
def test_an_id_that_would_address_others_is_refused(asker: str) -> None:
    with pytest.raises(EventError, match="cannot be addressed"):
        address(asker)


def test_an_id_cannot_write_a_target_of_its_own() -> None:
    target = parse(address('x" or id="other'))
    assert target.matches({"id": 'x" or id="other'})
    assert not target.matches({"id": "other"}) and not target.matches({"id": "x"})
