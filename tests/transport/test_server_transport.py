"""A transport to a server: one life at a time, from `open` to `close`."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from rxhub.transport.connection_state import ConnectionState, Phase
from rxhub.transport.outbox import PendingPublish
from rxhub.transport.server_transport import ServerTransport, TransportSession
from tests.threads import LIMIT, until


class Noted(TransportSession[Any]):
    """A life that notes what is asked of it, and ends when it is let."""

    server = "a server"

    def __init__(self, transport: Transport, sink: Any, loop: asyncio.AbstractEventLoop, last: Noted | None) -> None:
        super().__init__(transport, sink, loop, last)
        self.told: list[str] = []

    def begin(self) -> None:
        if self.ending is None:
            self.told.append("begin")

    async def run(self) -> None: ...

    def hurry(self) -> None:
        self.told.append("hurry")

    def end(self, timeout: float, reconnecting: bool, ended: Future[None]) -> None:
        self.told.append("end")
        super().end(timeout, reconnecting, ended)

    async def disconnect(self, timeout: float) -> None:
        while not self._transport.may_end:
            await asyncio.sleep(0.001)


class Transport(ServerTransport[Noted]):
    def __init__(self) -> None:
        super().__init__(10, "were left")
        self.may_end = True
        self.lives: list[Noted] = []

    def _new_session(self, sink: Any, loop: asyncio.AbstractEventLoop, last: Noted | None) -> Noted:
        self.lives.append(Noted(self, sink, loop, last))
        return self.lives[-1]


class Sink:
    def __init__(self) -> None:
        self.states: list[ConnectionState] = []

    def on_state(self, state: ConnectionState) -> None:
        self.states.append(state)


def test_there_is_one_life_at_a_time() -> None:
    transport, sink = Transport(), Sink()
    transport.open(sink)  # type: ignore[arg-type]
    transport.open(sink)  # type: ignore[arg-type]
    transport.close().result(LIMIT)
    transport.close().result(LIMIT)
    (life,) = transport.lives
    assert life.told == ["begin", "hurry", "end"]


def test_what_is_closed_while_it_is_opened_does_not_begin() -> None:
    class Hasty(Transport):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "_session" and value is not None:
                self.ended_early = self.close()

    transport = Hasty()
    transport.open(Sink())  # type: ignore[arg-type]
    transport.ended_early.result(LIMIT)
    (life,) = transport.lives
    assert life.told == ["end"]


def test_what_is_left_is_told_when_all_lives_have_ended() -> None:
    transport, sink = Transport(), Sink()
    transport.may_end = False
    transport.open(sink)  # type: ignore[arg-type]
    letter = PendingPublish("a", "{}")
    transport.outbox.put(letter)
    first = transport.close()
    transport.open(sink)  # type: ignore[arg-type]
    second = transport.close()
    assert not first.done() and not second.done() and not letter.accepted.done()
    transport.may_end = True
    assert "1 events were left" in str(first.exception(LIMIT)) == str(letter.accepted.exception(LIMIT))
    assert second.result(LIMIT) is None


def test_that_a_life_has_ended_is_no_news_once_there_is_another() -> None:
    transport, sink = Transport(), Sink()
    transport.report_disconnected(sink)  # type: ignore[arg-type]
    transport.open(sink)  # type: ignore[arg-type]
    until(lambda: transport.lives[0].told)
    transport.report_disconnected(sink)  # type: ignore[arg-type]
    assert [state.phase for state in sink.states] == [Phase.DISCONNECTED]
    transport.session_ended(transport.lives[0])
    transport.report_disconnected(sink, "why", 3)  # type: ignore[arg-type]
    assert sink.states[-1] == ConnectionState(Phase.DISCONNECTED, "why", 3)
