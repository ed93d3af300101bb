import gc
import threading
from collections import Counter
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.signals.connections import Seats, checked_priority, key_of
from rxhub.signals.receiver import OBSERVES, PLAIN


class Sender:
    pass


def function():
    def receiver(**named): ...

    return receiver


def join(seats, receiver, sender=None, priority=100, terms=PLAIN, weak=True):
    return seats.join(receiver, sender, weak, None, priority, terms)


def quick(seats, sender):
    """What `Signal.send` finds without a call."""
    return seats.lineups.get(id(sender)) if id(sender) in seats.seats else seats.rest


@pytest.fixture
def seats():
    return Seats()


class TestReady:
    def test_a_change_makes_only_the_senders_lineup_stale(self, seats):
        kept = [function() for _ in range(3)]
        join(seats, kept[0])
        join(seats, kept[1], Sender)
        for sender in (None, Sender):
            seats.lineup(sender)
        assert [len(quick(seats, sender)) for sender in (None, Sender)] == [1, 2]
        join(seats, kept[2], Sender)
        assert quick(seats, Sender) is None
        assert len(quick(seats, None)) == 1

    def test_who_wants_everybody_makes_all_stale(self, seats):
        kept = [function() for _ in range(2)]
        join(seats, kept[0], Sender)
        seats.lineup(Sender)
        join(seats, kept[1])
        assert quick(seats, Sender) is quick(seats, None) is None
        seats.lineup(None)
        assert quick(seats, Sender) is None
        assert len(quick(seats, None)) == 1

    def test_a_lineup_that_needs_care_is_never_offered(self, seats):
        kept = [function(), function()]
        join(seats, kept[0])
        join(seats, kept[1], Sender, terms=OBSERVES)
        assert [len(seats.lineup(sender)) for sender in (None, Sender)] == [1, 2]
        assert len(quick(seats, None)) == 1
        assert quick(seats, Sender) is None

    def test_as_long_as_care_is_asked_for_nothing_is_offered(self, seats):
        kept = function()
        join(seats, kept)
        seats.take_care(1)
        assert len(seats.lineup(None)) == 1
        assert quick(seats, None) is None
        seats.take_care(-1)
        seats.lineup(None)
        assert len(quick(seats, None)) == 1

    def test_a_text_as_a_sender_takes_the_offer_back_until_it_has_left(self, seats):
        kept = [function(), function()]
        join(seats, kept[0])
        seats.lineup(None)
        join(seats, kept[1], "farm")
        assert quick(seats, None) is None
        seats.lineup(None)
        assert quick(seats, None) is None
        seats.leave(kept[1], "farm", None)
        seats.lineup(None)
        assert len(quick(seats, None)) == 1


class TestDying:
    def test_dying_takes_no_lock(self, seats):
        """The collector may strike in a thread that waits for a lock which another one holds."""
        receiver, sender = function(), Sender()
        join(seats, receiver)
        join(seats, receiver, sender)
        holds, died = threading.Event(), threading.Event()

        def hold():
            with seats._lock:
                holds.set()
                assert died.wait(10)

        holder = threading.Thread(target=hold)
        holder.start()
        assert holds.wait(10)
        del receiver, sender
        died.set()
        holder.join()
        assert len(seats.gone) >= 2
        assert seats.all() == ()

    def test_the_dead_are_swept_whoever_comes_next(self, seats):
        for look in (lambda: seats.lineup(None), seats.all, lambda: seats.leave(print, None, None)):
            receiver = function()
            join(seats, receiver)
            del receiver
            assert seats.gone
            look()
            assert not seats.gone

    def test_a_finalizer_may_connect_in_the_middle_of_a_lineup_being_made(self, seats):
        late = [function()]

        class Cycle:
            def __init__(self):
                self.itself = self

            def __del__(self):
                join(seats, late[0], Sender)

        kept = [function() for _ in range(50)]
        threshold = gc.get_threshold()
        try:
            for receiver in kept:
                join(seats, receiver, Sender)
            Cycle()
            gc.set_threshold(1)
            seats.lineup(Sender)
        finally:
            gc.set_threshold(*threshold)
        gc.collect()
        assert len(seats.lineup(Sender)) == 51

    def test_a_finalizer_that_disconnects_may_run_while_another_is_swept(self, seats):
        survivor = function()
        join(seats, survivor)

        class Resource:
            def method(self, **named): ...

            def __del__(self):
                seats.leave(survivor, None, None)

        resource = Resource()
        sender = Sender()
        seats.join(resource.method, sender, False, None, 100, PLAIN)
        del resource, sender
        gc.collect()
        assert seats.all() == ()
        assert not seats.gone

    def test_nothing_of_a_dead_sender_is_kept(self, seats):
        class Receiver:
            def method(self, **named): ...

        receiver, sender = Receiver(), Sender()
        seats.join(receiver.method, sender, False, None, 100, PLAIN)
        gone = ref(receiver)
        del receiver, sender
        gc.collect()
        seats.sweep()
        gc.collect()
        assert gone() is None


def test_finalizers_that_connect_anywhere_lose_nobody_and_break_nothing(seats):
    """The collector strikes at every allocation, also in the middle of a lineup being made."""
    kept, connected = [function() for _ in range(20)], []

    class Cycle:
        def __init__(self):
            self.itself = self

        def __del__(self):
            receiver, sender = function(), type("New", (), {})
            connected.append((receiver, sender))
            join(seats, receiver, sender)

    thresholds = gc.get_threshold()
    try:
        for receiver in kept:
            join(seats, receiver)
        gc.set_threshold(1, 1, 1)
        for _ in range(200):
            Cycle()
            seats.leave(kept[0], None, None)
            join(seats, kept[0])
            for sender in (None, *[sender for _, sender in connected[-3:]]):
                seats.lineup(sender)
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert len(connected) == 200
    for receiver, sender in connected:
        expected = quick(seats, sender) or seats.lineup(sender)
        assert receiver in [connection() for connection in expected]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([None, Sender, "farm"]), st.sampled_from([1, 50.5, 100])),
        max_size=30,
    ),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([None, Sender, "farm"])), max_size=10),
)
def test_lineups_are_as_a_sorted_list_of_all_connections_would_give_them(joining, leaving):
    receivers = [function() for _ in range(10)]
    seats, model = Seats(), []
    for number, sender, priority in joining:
        connection = join(seats, receivers[number], sender, priority)
        known = any(n == number and s == sender for n, s, _ in model)
        assert (connection is None) == known
        if not known:
            model.append((number, sender, priority))
    for number, sender in leaving:
        found = [entry for entry in model if entry[:2] == (number, sender)]
        assert (seats.leave(receivers[number], sender, None) is not None) == bool(found)
        model = [entry for entry in model if entry not in found]
    for asked in (None, Sender, str(b"farm", "ascii"), int):
        expected = [n for n, s, p in sorted(model, key=lambda entry: entry[2]) if s in (None, asked)]
        assert [receivers.index(c()) for c in seats.lineup(asked)] == expected
        offered = quick(seats, asked)
        assert offered is None or [receivers.index(c()) for c in offered] == expected
    assert Counter(receivers.index(c()) for c in seats.all()) == Counter(n for n, _, _ in model)


@pytest.mark.parametrize("pair", [(1, True), (1, 1.0), ("a", b"a"), (None, 0), (1, (1,))])
def test_senders_of_different_types_are_different(pair):
    one, other = map(key_of, pair)
    assert one != other


def test_a_priority_may_be_any_number():
    assert [checked_priority(p) for p in (0, -1.5, float("inf"), True)] == [0, -1.5, float("inf"), True]
