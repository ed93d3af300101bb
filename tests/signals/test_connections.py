import gc
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.signals.connection import checked_priority, key_of
from rxhub.signals.connections import Connections
from rxhub.signals.observable import Emissions
from rxhub.signals.receiver import OBSERVER, PLAIN
from rxhub.signals.signal import Signal


class Sender:
    pass


def function():
    def receiver(**named): ...

    return receiver


def join(connections, receiver, sender=None, priority=100, spec=PLAIN, weak=True):
    return connections.join(receiver, sender, weak, None, priority, spec)


def quick(connections, sender):
    """What `Signal.send` finds without a call."""
    return connections.call_orders.get(id(sender)) if id(sender) in connections.slots else connections.rest


@pytest.fixture
def connections():
    return Connections()


class TestReady:
    def test_a_change_makes_only_the_senders_call_order_stale(self, connections):
        kept = [function() for _ in range(3)]
        join(connections, kept[0])
        join(connections, kept[1], Sender)
        for sender in (None, Sender):
            connections.call_order(sender)
        assert [len(quick(connections, sender)) for sender in (None, Sender)] == [1, 2]
        join(connections, kept[2], Sender)
        assert quick(connections, Sender) is None
        assert len(quick(connections, None)) == 1

    def test_who_wants_everybody_makes_all_stale(self, connections):
        kept = [function() for _ in range(2)]
        join(connections, kept[0], Sender)
        connections.call_order(Sender)
        join(connections, kept[1])
        assert quick(connections, Sender) is quick(connections, None) is None
        connections.call_order(None)
        assert quick(connections, Sender) is None
        assert len(quick(connections, None)) == 1

    def test_a_call_order_that_needs_care_is_never_offered(self, connections):
        kept = [function(), function()]
        join(connections, kept[0])
        join(connections, kept[1], Sender, spec=OBSERVER)
        assert [len(connections.call_order(sender)) for sender in (None, Sender)] == [1, 2]
        assert len(quick(connections, None)) == 1
        assert quick(connections, Sender) is None

    def test_as_long_as_care_is_asked_for_nothing_is_offered(self, connections):
        kept = function()
        join(connections, kept)
        connections.require_slow_path(1)
        assert len(connections.call_order(None)) == 1
        assert quick(connections, None) is None
        connections.require_slow_path(-1)
        connections.call_order(None)
        assert len(quick(connections, None)) == 1

    def test_a_text_as_a_sender_takes_the_offer_back_until_it_has_left(self, connections):
        kept = [function(), function()]
        join(connections, kept[0])
        connections.call_order(None)
        join(connections, kept[1], "farm")
        assert quick(connections, None) is None
        connections.call_order(None)
        assert quick(connections, None) is None
        connections.disconnect(kept[1], "farm", None)
        connections.call_order(None)
        assert len(quick(connections, None)) == 1


class TestDying:
    def test_dying_takes_no_lock(self, connections):
        """The collector may strike in a thread that waits for a lock which another one holds."""
        receiver, sender = function(), Sender()
        join(connections, receiver)
        join(connections, receiver, sender)
        holds, died = threading.Event(), threading.Event()

        def hold():
            with connections.lock:
                holds.set()
                assert died.wait(10)

        holder = threading.Thread(target=hold)
        holder.start()
        assert holds.wait(10)
        del receiver, sender
        died.set()
        holder.join()
        assert len(connections.dead) >= 2
        assert connections.all() == ()

    def test_the_dead_are_swept_whoever_comes_next(self, connections):
        for look in (
            lambda: connections.call_order(None),
            connections.all,
            lambda: connections.disconnect(print, None, None),
        ):
            receiver = function()
            join(connections, receiver)
            del receiver
            assert connections.dead
            look()
            assert not connections.dead

    def test_a_finalizer_may_connect_in_the_middle_of_a_call_order_being_made(self, connections):
        late = [function()]

        class Cycle:
            def __init__(self):
                self.itself = self

            def __del__(self):
                join(connections, late[0], Sender)

        kept = [function() for _ in range(50)]
        threshold = gc.get_threshold()
        try:
            for receiver in kept:
                join(connections, receiver, Sender)
            Cycle()
            gc.set_threshold(1)
            connections.call_order(Sender)
        finally:
            gc.set_threshold(*threshold)
        gc.collect()
        assert len(connections.call_order(Sender)) == 51

    def test_a_finalizer_that_disconnects_may_run_while_another_is_swept(self, connections):
        survivor = function()
        join(connections, survivor)

        class Resource:
            def method(self, **named): ...

            def __del__(self):
                connections.disconnect(survivor, None, None)

        resource = Resource()
        sender = Sender()
        connections.join(resource.method, sender, False, None, 100, PLAIN)
        del resource, sender
        gc.collect()
        assert connections.all() == ()
        assert not connections.dead

    def test_nothing_of_a_dead_sender_is_kept(self, connections):
        class Receiver:
            def method(self, **named): ...

        receiver, sender = Receiver(), Sender()
        connections.join(receiver.method, sender, False, None, 100, PLAIN)
        gone = ref(receiver)
        del receiver, sender
        gc.collect()
        connections.purge_dead()
        gc.collect()
        assert gone() is None


def test_finalizers_that_connect_anywhere_lose_nobody_and_break_nothing(connections):
    """The collector strikes at every allocation, also in the middle of a call_order being made."""
    kept, connected = [function() for _ in range(20)], []

    class Cycle:
        def __init__(self):
            self.itself = self

        def __del__(self):
            receiver, sender = function(), type("New", (), {})
            connected.append((receiver, sender))
            join(connections, receiver, sender)

    thresholds = gc.get_threshold()
    try:
        for receiver in kept:
            join(connections, receiver)
        gc.set_threshold(1, 1, 1)
        for _ in range(200):
            Cycle()
            connections.disconnect(kept[0], None, None)
            join(connections, kept[0])
            for sender in (None, *[sender for _, sender in connected[-3:]]):
                connections.call_order(sender)
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert len(connected) == 200
    for receiver, sender in connected:
        expected = quick(connections, sender) or connections.call_order(sender)
        assert receiver in [connection() for connection in expected]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([None, Sender, "farm"]), st.sampled_from([1, 50.5, 100])),
        max_size=30,
    ),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([None, Sender, "farm"])), max_size=10),
)
def test_call_orders_are_as_a_sorted_list_of_all_connections_would_give_them(joining, leaving):
    receivers = [function() for _ in range(10)]
    connections, model = Connections(), []
    for number, sender, priority in joining:
        connection = join(connections, receivers[number], sender, priority)
        known = any(n == number and s == sender for n, s, _ in model)
        assert (connection is None) == known
        if not known:
            model.append((number, sender, priority))
    for number, sender in leaving:
        found = [entry for entry in model if entry[:2] == (number, sender)]
        assert (connections.disconnect(receivers[number], sender, None)) == bool(found)
        model = [entry for entry in model if entry not in found]
    for asked in (None, Sender, str(b"farm", "ascii"), int):
        expected = [n for n, s, p in sorted(model, key=lambda entry: entry[2]) if s in (None, asked)]
        assert [receivers.index(c()) for c in connections.call_order(asked)] == expected
        offered = quick(connections, asked)
        assert offered is None or [receivers.index(c()) for c in offered] == expected
    assert Counter(receivers.index(c()) for c in connections.all()) == Counter(n for n, _, _ in model)


@pytest.mark.parametrize("pair", [(1, True), (1, 1.0), ("a", b"a"), (None, 0), (1, (1,))])
def test_senders_of_different_types_are_different(pair):
    one, other = map(key_of, pair)
    assert one != other


def test_a_priority_may_be_any_number():
    assert [checked_priority(p) for p in (0, -1.5, float("inf"), True)] == [0, -1.5, float("inf"), True]


@contextmanager
def before_line(function, number, act):
    """Call `act` before the line of this number of a function runs, as another thread may."""
    lines = iter(range(number + 1))

    def trace(frame, kind, argument):
        if frame.f_code is not function.__code__:
            return None
        if kind == "line" and next(lines, None) == number:
            act()
        return trace

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(outer)


class TestAnotherThread:
    @pytest.mark.parametrize("number", range(8))
    def test_may_remove_a_connection_while_it_is_connected_again(self, connections, number):
        kept = function()
        connection = join(connections, kept)
        connections.remove(connection)
        with before_line(Connections.reconnect, number, lambda: connections.remove(connection)):
            connections.reconnect(connection)
        assert connection.alive is (connection in connections.all())
        assert connection.alive or connections.reconnect(connection)

    @pytest.mark.parametrize("number", range(4))
    def test_may_drop_a_sender_while_a_pipeline_on_it_is_connected(self, number):
        signal, senders, seen = Signal("dropped"), [Sender()], []
        emissions = signal.on(sender=senders[0])
        with before_line(Emissions._subscribe_core, number, lambda: (senders.clear(), gc.collect())):
            emissions.subscribe(seen.append)
        signal.send(Sender(), number=1)
        assert seen == []
