"""The books of a bridge: counts that add up, and gaps that enclose whatever was lost."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rxhub.bridge.gap import Gap, Position
from rxhub.bridge.tracker import MAX_KNOWN_IDS, BridgeTracker, Counts, GapChange

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def marked(tracker: BridgeTracker) -> BridgeTracker:
    """Without the gap that is open from the start."""
    assert tracker.gap is not None
    tracker.add_marker("marker", at(0), done(), tracker.gap, tracker.gap)
    tracker.process_done()
    return tracker


def done(error: Exception | None = None) -> Future[None]:
    future: Future[None] = Future()
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
    return future


def test_what_is_accepted_counts_as_stored_in_order() -> None:
    tracker = marked(BridgeTracker(10))
    first, second = Future[None](), Future[None]()
    for number, sent in enumerate((first, second), 1):
        assert tracker.receive(str(number))
        tracker.add(str(number), at(number), sent)
    second.set_result(None)
    assert tracker.process_done() == [] and tracker.counts == Counts(read=2, waiting=2, gaps=1)
    first.set_result(None)
    assert tracker.process_done() == [] and tracker.counts == Counts(read=2, stored=2, gaps=1)
    assert tracker.gap is None and tracker.wait(0)


def test_a_gap_is_open_from_the_start_and_closed_by_its_marker_alone() -> None:
    tracker = BridgeTracker(10)
    assert tracker.gap == Gap("started", None)
    tracker.add_marker("m", at(1), done(ValueError("no")), Gap("started", None), Gap("started", None))
    assert tracker.gap is None
    [told] = tracker.process_done()
    assert told == (GapChange.REFUSED, Gap("started", None), "no") and tracker.gap == told.gap
    tracker.add_marker("n", at(2), done(), Gap("started", None), Gap("started", at(1)))
    [told] = tracker.process_done()
    assert told[:2] == (GapChange.MARKED, Gap("started", at(1))) and tracker.gap is None and tracker.counts.gaps == 1


def test_a_gap_begins_behind_what_was_passed_on_last() -> None:
    tracker = marked(BridgeTracker(10))
    tracker.add("x", at(5), done())
    assert tracker.open_gap("reconnected", "the line broke")
    assert tracker.gap == Gap("reconnected", at(5), "x", "the line broke")
    assert not tracker.open_gap("overflowed", "too many", 3)
    assert tracker.gap == Gap("reconnected", at(5), "x", "the line broke", 3)


def test_a_refused_event_opens_a_gap_behind_what_was_stored_last() -> None:
    tracker = marked(BridgeTracker(10))
    tracker.add("x", at(5), done())
    tracker.add("y", at(6), done(ValueError("too large")))
    tracker.add("z", at(7), done())
    [told] = tracker.process_done()
    assert told == (GapChange.OPENED, Gap("refused", at(5), "x", "too large", 1), "too large")
    assert tracker.gap == told.gap
    assert (tracker.counts.stored, tracker.counts.lost) == (2, 1)
    assert tracker.receive("y"), "its publisher may try again"


def test_an_overflow_lasts_until_half_of_what_was_under_way_is_stored() -> None:
    tracker = marked(BridgeTracker(4))
    sent = [Future[None]() for _ in range(4)]
    for number, future in enumerate(sent):
        assert tracker.has_room
        tracker.add(str(number), at(number), future)
    assert not tracker.has_room
    tracker.open_gap("overflowed", "full", 1, room=False)
    sent[0].set_result(None)
    tracker.process_done()
    assert not tracker.has_room
    sent[1].set_result(None)
    tracker.process_done()
    assert tracker.has_room and tracker.gap is not None
    tracker.add_marker("m", at(9), Future(), tracker.gap, tracker.gap)
    assert tracker.gap is None and tracker.has_room and tracker.counts == Counts(0, 2, 2, 1, 0, 1)


def test_what_was_passed_on_is_known_for_a_while() -> None:
    tracker = marked(BridgeTracker(10))
    for number in range(MAX_KNOWN_IDS + 1):
        assert tracker.receive(str(number))
        tracker.add(str(number), at(0), done())
        tracker.process_done()
    assert not tracker.receive(str(MAX_KNOWN_IDS)) and tracker.counts.duplicates == 1
    assert tracker.receive("0")


class Play:
    """A bridge whose every step is drawn; each event has a second of its own in which it came."""

    def __init__(self) -> None:
        self.tracker = BridgeTracker(3)
        self.now = 0
        self.floor = 0
        self.under_way: list[tuple[Future[None], int | None]] = []
        self.lost: list[int] = []
        self.ends: list[int] = []
        self.enclosed: list[tuple[datetime | None, datetime]] = []

    def step(self, step: str, place: int) -> None:
        self.now += 1
        getattr(self, step)(place)
        for outcome, gap, _ in self.tracker.process_done():
            if outcome is GapChange.MARKED:
                self.enclosed.append((gap.since, at(self.ends.pop(0))))
            elif outcome is GapChange.REFUSED:
                self.ends.pop(0)
        self.check_what_is_secured()

    def check_what_is_secured(self) -> None:
        """If a bridge dies now, the next one marks a gap from here on: whatever is lost before must be marked."""
        secured = self.tracker.secured.floor
        if secured is not None:
            lost = [*self.lost, *[came for _, came in self.under_way if came is not None]]
            assert all(at(came) > secured or self.is_enclosed(came) for came in lost)

    def is_enclosed(self, came: int) -> bool:
        return any((since is None or since < at(came)) and at(came) <= until for since, until in self.enclosed)

    def arrive(self, _: int) -> None:
        tracker = self.tracker
        assert tracker.receive(str(self.now))
        if tracker.has_room:
            sent: Future[None] = Future()
            self.under_way.append((sent, self.now))
            tracker.add(str(self.now), at(self.floor), sent)
        else:
            self.lost.append(self.now)
            tracker.open_gap("overflowed", "", 1, room=False)

    def overflow(self, _: int) -> None:
        assert self.tracker.receive(str(self.now))
        self.lost.append(self.now)
        self.tracker.open_gap("overflowed", "", 1, room=False)

    def sweep(self, _: int) -> None:
        self.floor = self.now

    def mark(self, _: int) -> None:
        gap = self.tracker.gap
        if gap is not None and self.tracker.has_room:
            sent: Future[None] = Future()
            self.under_way.append((sent, None))
            self.ends.append(self.now)
            self.tracker.add_marker(f"marker {self.now}", at(self.now), sent, gap, gap)

    def store(self, place: int) -> None:
        if self.under_way:
            self.under_way.pop(place % len(self.under_way))[0].set_result(None)

    def refuse(self, place: int) -> None:
        if self.under_way:
            sent, came = self.under_way.pop(place % len(self.under_way))
            if came is not None:
                self.lost.append(came)
            sent.set_exception(ValueError("refused"))


STEPS = st.sampled_from(["arrive", "arrive", "overflow", "sweep", "mark", "store", "store", "refuse"])


@given(st.lists(st.tuples(STEPS, st.integers(0, 5)), max_size=60))
def test_whatever_is_lost_lies_within_a_gap_and_the_counts_add_up(steps: list[tuple[str, int]]) -> None:
    play = Play()
    for step, place in steps:
        play.step(step, place)
        counts = play.tracker.counts
        assert counts.read == counts.stored + counts.waiting + counts.lost
    while play.under_way:
        play.step("store", 0)
    while play.tracker.gap is not None:
        play.step("mark", 0)
        play.step("store", 0)
    counts = play.tracker.counts
    assert counts.waiting == 0 and counts.lost == len(play.lost) and counts.gaps == len(play.enclosed)
    for came in play.lost:
        assert play.is_enclosed(came)


def test_what_another_bridge_has_stored_is_no_gap() -> None:
    gap = Gap("reconnected", at(3), "x", "", 2)
    assert gap.after(Position(), at(9)) == gap.after(Position(at(2), "w"), at(9)) == gap
    assert gap.after(Position(at(5), "y"), at(9)) == Gap("reconnected", at(5), "y", "", 2)
    assert gap.after(Position(at(10), "y"), at(9)).since == at(9)
    assert Gap("started", None).after(Position(at(5), None), at(9)).since == at(5)


def test_counts_in_words() -> None:
    assert str(Counts(1234, 1200, 34, 0, 0, 1)) == "1,234 read, 1,200 stored, 34 waiting, 1 gap"
    assert str(Counts(2, 0, 0, 1, 1, 0)) == "2 read, 0 stored, 0 waiting, 1 lost, 1 duplicate"


def test_a_gap_in_words_and_as_data() -> None:
    gap = Gap("reconnected", at(1), "x", "the line broke", 1200)
    assert gap.text(at(2)).startswith("Events between 2026-01-01T00:00:01.000+00:00 and 2026-01-01T00:00:02.000+00:00")
    assert "1,200 events for certain" in gap.text(at(2))
    assert Gap("started", None).text(at(2)).startswith("Whatever was published before 2026-01-01T00:00:02.000+00:00")
    data: dict[str, Any] = gap.data(at(2))
    assert data == {
        "why": "reconnected",
        "reason": "the line broke",
        "since": "2026-01-01T00:00:01.000+00:00",
        "until": "2026-01-01T00:00:02.000+00:00",
        "last": "x",
        "lost": 1200,
    }
