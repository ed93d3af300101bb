"""Stored events, once more: how they are paced and passed on, on virtual time and over a list instead of a stream."""

from __future__ import annotations

import gc
import weakref
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import reactivex.operators as ops
from hypothesis import given
from hypothesis import strategies as st

from rxhub import Event, EventHub
from rxhub.errors import ExpressionError, HubClosed, NotDurable, NotHandled
from rxhub.expression import Expression, parse
from rxhub.hub.replay import Moment, Progress, Replay, ReplayOptions
from rxhub.testing import VirtualHub
from rxhub.transport import Durable, durable
from rxhub.transport.durable import HistoryReader, Span, Stored
from rxhub.transport.json_payload import write_event

AHEAD = 100
SECOND = 1_000_000_000
COLOUR: ContextVar[str] = ContextVar("COLOUR", default="none")


class Tape:
    """One reading of a list: as much as may be ahead at once, and more when some of it is done."""

    def __init__(self, stored: list[Stored], span: Span, reader: HistoryReader) -> None:
        self.span = span
        self.stopped = False
        self.sent = 0
        self._stored = stored
        self._reader = reader
        self._room = AHEAD

    def begin(self) -> None:
        self._reader.measured(len(self._stored))
        self._send()

    def done(self, count: int) -> None:
        self._room += count
        self._send()

    def stop(self) -> None:
        self.stopped = True

    def end(self, error: Exception | None = None) -> None:
        self._reader.ended(error)

    def _send(self) -> None:
        while self._room and self.sent < len(self._stored) and not self.stopped:
            self._room -= 1
            self.sent += 1
            self._reader.read(self._stored[self.sent - 1])
            if self.sent == len(self._stored) and not self.span.follow:
                self.end()


class Shelf:
    """A transport that keeps events, as far as a replay looks at it."""

    def __init__(self, *stored: tuple[float, Event]) -> None:
        self.tapes: list[Tape] = []
        self.stored = [
            Stored(write_event(event).encode(), number, round(time * SECOND))
            for number, (time, event) in enumerate(stored, 1)
        ]

    def read(self, expression: Expression, span: Span, reader: HistoryReader) -> Tape:
        self.tapes.append(Tape(self.stored, span, reader))
        return self.tapes[-1]


def shots(*times: float) -> Shelf:
    """An event with its number at each time."""
    return Shelf(*[(time, Event("shot", data={"n": n})) for n, time in enumerate(times)])


@pytest.fixture
def hub() -> VirtualHub:
    return VirtualHub()


def replay(hub: EventHub, shelf: Shelf, subscription: str = "topic=shot", **options: Any) -> Replay:
    return Replay(
        parse(subscription),
        ReplayOptions(**options),
        cast("Durable", shelf),
        hub._link,
        hub._inbox,
        hub._runner,
    )


def played(hub: VirtualHub, shelf: Shelf, subscription: str = "topic=shot", **options: Any) -> list[tuple[float, int]]:
    """When each event is replayed, in seconds, and which."""
    seen: list[tuple[float, int]] = []
    replay(hub, shelf, subscription, **options).subscribe(lambda event: seen.append((hub.now, event.data["n"])))
    hub.advance(1_000_000)
    return seen


class TestSpeed:
    def test_without_one_events_come_as_fast_as_they_are_handled(self, hub: VirtualHub) -> None:
        assert played(hub, shots(0, 3600, 7200)) == [(0, 0), (0, 1), (0, 2)]

    def test_1_is_the_original_pace(self, hub: VirtualHub) -> None:
        assert played(hub, shots(100, 100.5, 100.5, 3700), speed=1.0) == [(0, 0), (0.5, 1), (0.5, 2), (3600, 3)]

    def test_10_is_ten_times_as_fast(self, hub: VirtualHub) -> None:
        assert played(hub, shots(100, 101, 110), speed=10) == [(0, 0), (0.1, 1), (1, 2)]

    def test_what_does_not_match_is_not_waited_for(self, hub: VirtualHub) -> None:
        assert played(hub, shots(0, 5, 10, 20), "data.n in (1, 3)", speed=1) == [(0, 1), (15, 3)]

    def test_a_clock_that_went_backwards_holds_nothing_up(self, hub: VirtualHub) -> None:
        assert played(hub, shots(10, 5, 12), speed=1) == [(0, 0), (0, 1), (2, 2)]

    @given(st.lists(st.integers(0, 1_000), min_size=1, max_size=30).map(sorted), st.sampled_from([0.25, 1, 2, 8]))
    def test_every_event_is_due_as_long_after_the_first_as_it_was_stored(self, times: list[int], speed: float) -> None:
        seen = played(VirtualHub(), shots(*times), speed=speed)
        assert seen == [((time - times[0]) / speed, n) for n, time in enumerate(times)]

    def test_a_handler_that_took_too_long_does_not_slow_the_rest_down(self, hub: VirtualHub) -> None:
        seen: list[tuple[float, int]] = []

        def slowly(event: Event) -> None:
            if not event.data["n"]:
                cast("Any", hub)._clock.seconds += 30
            seen.append((hub.now, event.data["n"]))

        replay(hub, shots(0, 10, 20, 40), speed=1).subscribe(slowly)
        hub.advance(100)
        assert seen == [(30, 0), (30, 1), (30, 2), (40, 3)]

    def test_live_events_are_handled_while_one_is_not_due_yet(self, hub: VirtualHub) -> None:
        seen: list[Any] = []
        hub.on("topic=live").subscribe(lambda event: seen.append("live"))
        replay(hub, shots(0, 10), speed=1).subscribe(lambda event: seen.append(event.data["n"]))
        hub.advance(5)
        hub.publish(Event("live"))
        hub.advance(10)
        assert seen == [0, "live", 1]

    def test_who_leaves_before_the_next_is_due_gets_nothing_more(self, hub: VirtualHub) -> None:
        seen: list[Event] = []
        shelf = shots(0, 10)
        subscription = replay(hub, shelf, speed=1).subscribe(seen.append)
        hub.advance(5)
        subscription.dispose()
        hub.advance(100)
        assert len(seen) == 1 and shelf.tapes[0].stopped

    @pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf"), -0.0])
    def test_it_is_greater_than_0(self, hub: VirtualHub, speed: float) -> None:
        with pytest.raises(ValueError, match="greater than 0, 1.0 being the original pace"):
            replay(hub, shots(), speed=speed)

    @pytest.mark.parametrize("speed", ["1", True, timedelta(1)])
    def test_it_is_a_number(self, hub: VirtualHub, speed: Any) -> None:
        with pytest.raises(TypeError, match="speed is a number"):
            replay(hub, shots(), speed=speed)


class TestHandling:
    def test_no_more_is_read_than_is_handled(self, hub: VirtualHub) -> None:
        shelf = shots(*range(1_000))
        seen: list[int] = []
        replay(hub, shelf).subscribe(lambda event: seen.append(shelf.tapes[0].sent - event.data["n"]))
        assert shelf.tapes[0].sent == AHEAD
        hub.drain()
        assert len(seen) == 1_000 and max(seen) <= AHEAD

    def test_it_takes_turns_with_what_else_there_is_to_handle(self, hub: VirtualHub) -> None:
        seen: list[str] = []
        hub.on("topic=live").subscribe(lambda _: seen.append("live"))
        replay(hub, shots(*range(1_000))).subscribe(lambda _: seen.append("stored"))
        hub.publish(Event("live"))
        hub.drain()
        assert 0 < seen.index("live") < 200

    def test_events_and_the_end_come_where_the_hub_is_handled(self, hub: VirtualHub) -> None:
        told: list[Any] = []
        replay(hub, shots(0, 1)).subscribe(
            lambda event: told.append(event.data["n"]), told.append, lambda: told.append("end")
        )
        assert told == []
        hub.drain()
        assert told == [0, 1, "end"]

    def test_an_error_comes_behind_the_events_before_it(self, hub: VirtualHub) -> None:
        told: list[Any] = []
        shelf = shots(0, 1)
        replay(hub, shelf, follow=True).subscribe(lambda event: told.append(event.data["n"]), told.append)
        error = ValueError("gone")
        shelf.tapes[0].end(error)
        hub.drain()
        assert told == [0, 1, error]

    def test_an_observer_that_raises_has_left(self, hub: VirtualHub, caplog: pytest.LogCaptureFixture) -> None:
        shelf = shots(0, 1, 2)

        def fail(event: Event) -> None:
            raise ValueError("no such shot")

        replay(hub, shelf).subscribe(fail)
        hub.drain()
        assert shelf.tapes[0].stopped and caplog.text.count("no such shot") >= 1

    def test_an_operator_that_fails_tells_its_observer(self, hub: VirtualHub) -> None:
        errors: list[Exception] = []
        shelf = shots(0, 1, 2)
        replay(hub, shelf).pipe(ops.map(lambda event: event.data["missing"])).subscribe(on_error=errors.append)
        hub.drain()
        assert [type(error) for error in errors] == [KeyError] and shelf.tapes[0].stopped

    def test_an_interruption_does_not_stop_it_for_good(self, hub: VirtualHub) -> None:
        seen: list[int] = []

        def interrupt(event: Event) -> None:
            seen.append(event.data["n"])
            if event.data["n"] == 1:
                raise KeyboardInterrupt

        replay(hub, shots(0, 1, 2)).subscribe(interrupt)
        with pytest.raises(KeyboardInterrupt):
            hub.drain()
        hub.drain()
        assert seen == [0, 1, 2]

    def test_who_has_seen_enough_stops_in_the_middle(self, hub: VirtualHub) -> None:
        shelf = shots(*range(1_000))
        seen: list[Event] = []
        replay(hub, shelf).pipe(ops.take(3)).subscribe(seen.append)
        hub.drain()
        assert len(seen) == 3 and shelf.tapes[0].stopped and shelf.tapes[0].sent == AHEAD

    def test_a_handler_runs_in_a_copy_of_its_subscribers_context(self, hub: VirtualHub) -> None:
        seen: list[str] = []

        def paint(_: Event) -> None:
            seen.append(COLOUR.get())
            COLOUR.set("blue")

        token = COLOUR.set("red")
        replay(hub, shots(0, 1)).subscribe(paint)
        COLOUR.reset(token)
        hub.drain()
        assert seen == ["red", "red"]

    def test_nobody_may_wait_for_it_in_the_thread_that_handles_it(self, hub: VirtualHub) -> None:
        errors: list[Exception] = []

        def wait(event: Event) -> None:
            try:
                replay(hub, shots(0)).run()
            except NotHandled as error:
                errors.append(error)

        hub.subscribe("topic=go", wait)
        hub.publish(Event("go"))
        hub.drain()
        assert "run() blocks" in str(errors[0])

    @pytest.mark.parametrize("follow", [False, True])
    def test_a_hub_that_is_closed_breaks_it_off(self, hub: VirtualHub, follow: bool) -> None:
        told: list[Any] = []
        replay(hub, shots(0, 1), follow=follow).subscribe(told.append, told.append, lambda: told.append("end"))
        hub.close()
        assert told == ["end"] if follow else [type(one) for one in told] == [HubClosed]

    def test_a_hub_that_is_dropped_is_not_kept_by_it(self) -> None:
        hub = VirtualHub()
        shelf = shots(0, 1)
        seen: list[Event] = []
        replay(hub, shelf, follow=True).subscribe(seen.append)
        hub.drain()
        dropped = weakref.ref(hub)
        del hub
        gc.collect()
        assert dropped() is None and len(seen) == 2


class TestProgress:
    def test_it_begins_with_nothing(self, hub: VirtualHub) -> None:
        assert replay(hub, shots(0)).progress == Progress()

    def test_it_is_that_of_the_latest_subscription(self, hub: VirtualHub) -> None:
        twice = replay(hub, shots(0, 1))
        twice.subscribe()
        hub.drain()
        assert twice.progress == Progress(2, 2, 2, 2, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
        twice.subscribe()
        assert twice.progress == Progress(total=2) and twice.progress.fraction == 0.0

    def test_what_does_not_match_counts_as_read(self, hub: VirtualHub) -> None:
        some = replay(hub, shots(0, 1, 2), "data.n=1")
        some.subscribe()
        hub.drain()
        assert (some.progress.read, some.progress.emitted, some.progress.fraction) == (3, 1, 1.0)

    def test_nothing_to_read_is_read(self) -> None:
        assert Progress(total=0).fraction == 1.0


class TestSpan:
    def test_how_long_ago_is_left_to_the_clock_of_the_server(self, hub: VirtualHub) -> None:
        shelf = shots(0)
        replay(hub, shelf, since=timedelta(hours=2), until=timedelta(hours=1)).subscribe()
        assert [tape.span[:2] for tape in shelf.tapes] == [(timedelta(hours=2), timedelta(hours=1))]

    @pytest.mark.parametrize("name", ["since", "until"])
    def test_a_naive_time_is_refused_with_what_to_do(self, hub: VirtualHub, name: str) -> None:
        with pytest.raises(ValueError, match=rf"{name}=.* has no time zone.*\.astimezone\(\).*\.replace\(tzinfo=UTC\)"):
            replay(hub, shots(), **{name: datetime(2026, 1, 1)})  # noqa: DTZ001

    @pytest.mark.parametrize("moment", [-1, timedelta(seconds=-1)])
    def test_nothing_is_negative(self, hub: VirtualHub, moment: Moment) -> None:
        with pytest.raises(ValueError, match="at least 0"):
            replay(hub, shots(), since=moment)

    @pytest.mark.parametrize("moment", ["2h", 1.5, True, b"", object()])
    def test_it_is_a_time_or_a_sequence(self, hub: VirtualHub, moment: Any) -> None:
        with pytest.raises(TypeError, match="an aware datetime, a timedelta .* or a sequence"):
            replay(hub, shots(), until=moment)

    @pytest.mark.parametrize(
        ("since", "until"),
        [
            (2, 1),
            (timedelta(hours=1), timedelta(hours=2)),
            (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        ],
    )
    def test_the_end_is_not_before_the_beginning(self, hub: VirtualHub, since: Moment, until: Moment) -> None:
        with pytest.raises(ValueError, match="is before the start"):
            replay(hub, shots(), since=since, until=until)
        replay(hub, shots(), since=until, until=since)

    def test_what_follows_has_no_end(self, hub: VirtualHub) -> None:
        with pytest.raises(ValueError, match=r"until=… or follow=True"):
            replay(hub, shots(), until=5, follow=True)


class TestTransports:
    @pytest.mark.parametrize("url", ["memory://", "http://127.0.0.1:9"])
    def test_where_nothing_is_kept_nothing_is_replayed(self, url: str) -> None:
        with EventHub(url) as hub:
            for ask in (lambda: hub.replay("topic=*"), lambda: hub.streams()):
                with pytest.raises(NotDurable, match=r'EventHub\("nats://host'):
                    ask()

    def test_the_transport_of_nats_keeps_events(self) -> None:
        hub = EventHub("nats://127.0.0.1:9")
        assert durable(hub._link.transport, "this") is hub._link.transport

    def test_a_subscription_that_does_not_parse_is_refused_at_once(self) -> None:
        with EventHub("nats://127.0.0.1:9") as hub:
            with pytest.raises(ExpressionError):
                hub.replay("topic==a")
        with pytest.raises(HubClosed):
            hub.replay("topic=a")
