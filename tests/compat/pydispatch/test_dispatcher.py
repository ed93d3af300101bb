"""Features and fixes of rxhub behind PyDispatcher's functions."""

from __future__ import annotations

import copy
import gc
import logging
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from rxhub import EventHub
from rxhub.compat.pydispatch import dispatcher, install, robust, saferef, signal_of, uninstall
from rxhub.compat.pydispatch.errors import DispatcherKeyError, DispatcherTypeError
from rxhub.rx.scope import Scope
from rxhub.signals.signal import signals
from tests.threads import at_once, eager_collection, run_script


class Sender:
    pass


class Listener:
    def __init__(self, log: list[Any] | None = None) -> None:
        self.log: list[Any] = [] if log is None else log

    def receive(self, sender: object, value: object = None) -> object:
        self.log.append(value)
        return value


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    dispatcher.connections.clear()
    yield
    dispatcher.connections.clear()
    assert not dispatcher.connections
    assert not dispatcher.senders
    assert not dispatcher.sendersBack


# Pipelines and receivers in rxhub's manner


def test_a_pipeline_sees_what_is_sent() -> None:
    seen: list[Any] = []
    subscription = signal_of("saved").on("value>1").subscribe(seen.append)

    dispatcher.send("saved", None, value=1)
    dispatcher.send("saved", "somebody", value=2)
    dispatcher.send("other", None, value=3)

    assert [(dict(emission), emission.sender, emission.signal.name) for emission in seen] == [
        ({"value": 2}, "somebody", "saved")
    ]
    subscription.dispose()


def test_positional_arguments_stand_in_the_emission_under_a_star() -> None:
    seen: list[Any] = []
    with signal_of("saved").on().subscribe(seen.append):
        assert dispatcher.send("saved", None, 1, 2, value=3) == []
    assert dict(seen[0]) == {"*": (1, 2), "value": 3}


def test_what_the_signal_sends_reaches_receivers_with_the_key() -> None:
    def receiver(signal: object, sender: object, value: int) -> tuple[object, object, int]:
        return signal, sender, value

    dispatcher.connect(receiver, ("any", "key"))
    sender = Sender()

    answers = signal_of(("any", "key")).send(sender, value=1, unknown=2)

    assert answers == [(receiver, (("any", "key"), sender, 1))]


def test_receivers_of_both_manners_stand_in_one_order() -> None:
    log: list[str] = []
    sender = Sender()
    dispatcher.connect(everybody := lambda: log.append("any sender"), "saved")
    dispatcher.connect(one := lambda: log.append("one sender"), "saved", sender)
    signal = signal_of("saved")
    native = [
        signal.connect(lambda name=name, **_: log.append(name), priority=priority, weak=False)
        for name, priority in [("last", 104), ("first", 99)]
    ]

    dispatcher.send("saved", sender)

    assert log == ["first", "one sender", "any sender", "last"]
    for receiver in native:
        signal.disconnect(receiver)
    del everybody, one


def test_a_receiver_in_rxhubs_manner_can_stop_the_emission() -> None:
    listener = Listener()
    dispatcher.connect(listener.receive, "saved")
    stopping = signal_of("saved").connect(lambda emission, **_: emission.stop(), priority=1, weak=False)

    dispatcher.send("saved", None, value=1)

    assert listener.log == []
    signal_of("saved").disconnect(stopping)


def test_a_description_names_the_receivers() -> None:
    listener, sender = Listener(), Sender()
    dispatcher.connect(listener.receive, "saved", sender)
    with EventHub() as hub:
        described = str(hub.describe())
    assert "Listener.receive" in described
    assert "Sender" in described


def test_there_is_no_signal_of_any() -> None:
    for key in (None, dispatcher.Any):
        with pytest.raises(DispatcherTypeError, match="Pass a signal key"):
            signal_of(key)


def test_signals_live_as_long_as_somebody_is_connected() -> None:
    key = "a key that nobody else uses"
    listener = Listener()
    dispatcher.connect(listener.receive, key)
    assert key in [signal.name for signal in signals()]

    del listener
    dispatcher.send(key)
    gc.collect()
    assert key not in [signal.name for signal in signals()]


def test_who_listens_to_any_signal_gets_keys_that_nobody_else_knows() -> None:
    listener = Listener()
    dispatcher.connect(listener.receive)

    for number in range(100):
        assert dispatcher.send(f"unheard of {number}", None, value=number) == [(listener.receive, number)]

    assert listener.log == [*range(100)]
    assert not [signal for signal in signals() if signal.name.startswith("unheard of")]


# Changes in the middle of a send


def test_who_leaves_in_the_middle_is_not_called_and_nobody_is_left_out() -> None:
    """PyDispatcher skips the receiver after one that disconnects."""
    log: list[str] = []

    def first() -> None:
        log.append("first")
        dispatcher.disconnect(first, "saved")
        dispatcher.disconnect(third, "saved")

    def second() -> None:
        log.append("second")

    def third() -> None:
        log.append("third")

    for receiver in (first, second, third):
        dispatcher.connect(receiver, "saved")
    dispatcher.send("saved")
    assert log == ["first", "second"]


def test_who_comes_in_the_middle_is_called_the_next_time() -> None:
    log: list[str] = []

    def late() -> None:
        log.append("late")

    def early() -> None:
        log.append("early")
        dispatcher.connect(late, "saved")

    dispatcher.connect(early, "saved")
    dispatcher.send("saved")
    assert log == ["early"]
    dispatcher.send("saved")
    assert log == ["early", "early", "late"]


# Weakness


def test_a_later_sender_with_the_same_id_is_another() -> None:
    """In PyDispatcher, a new object with the id of a dead sender gets its receivers."""
    listener = Listener()
    for _ in range(50):
        sender = object()
        dispatcher.connect(listener.receive, "saved", sender)
        del sender
        assert dispatcher.send("saved", object(), value=1) == []


def test_a_method_is_let_go_although_it_was_disconnected_from_another_signal() -> None:
    """In PyDispatcher, one `disconnect` keeps it from cleaning up the others."""
    listener = Listener()
    dispatcher.connect(listener.receive, "one")
    dispatcher.connect(listener.receive, "two")
    dispatcher.disconnect(listener.receive, "one")
    del listener
    assert not dispatcher.connections
    assert not dispatcher.sendersBack


def test_a_receiver_of_a_dead_sender_is_let_go() -> None:
    sender, listener = Sender(), Listener()
    dispatcher.connect(listener.receive, "saved", sender, weak=False)
    reference = weakref.ref(listener)
    del sender, listener
    assert not dispatcher.connections
    assert reference() is None


def test_what_a_dead_senders_connection_kept_goes_with_it() -> None:
    sender, other, listener = Sender(), Sender(), Listener()
    dispatcher.connect(listener.receive, "saved", other)
    dispatcher.connect(listener.receive, "saved", sender, weak=False)
    del listener, sender
    assert dispatcher.getReceivers(other, "saved") == []
    assert not dispatcher.connections


def test_senders_and_receivers_are_not_kept() -> None:
    sender, listener = Sender(), Listener()
    references = weakref.ref(sender), weakref.ref(listener)
    dispatcher.connect(listener.receive, "saved", sender)
    dispatcher.connect(listener.receive, dispatcher.Any, sender)
    dispatcher.send("saved", sender)
    robust.sendRobust("saved", sender)
    gc.disable()
    try:
        del sender, listener
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


def test_a_receiver_without_a_hash_is_refused() -> None:
    """PyDispatcher accepts it and never calls it."""

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self) -> None:
            pass

    receiver = Unhashable()
    with pytest.raises(DispatcherTypeError, match="__hash__"):
        dispatcher.connect(receiver, "saved")


def test_a_method_made_in_c_is_refused_with_advice() -> None:
    with pytest.raises(DispatcherTypeError, match="weak=False"):
        dispatcher.connect([].append, "saved")


def test_references_to_methods_are_equal_while_their_object_lives() -> None:
    listener = Listener()
    one, other = saferef.safeRef(listener.receive), saferef.safeRef(listener.receive)
    assert one == other and hash(one) == hash(other) and one
    assert one() == listener.receive
    assert "Listener.receive" in repr(one)
    told: list[Any] = []
    third = saferef.safeRef(listener.receive, told.append)
    del listener
    assert told == [third]
    assert one != other and not one and one() is None


def test_what_a_deletion_method_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener()
    reference = saferef.safeRef(listener.receive, lambda _: 1 / 0)
    with caplog.at_level(logging.ERROR, logger="rxhub"):
        del listener
    assert "Listener.receive" in caplog.text
    assert not reference


# The tables


def test_the_tables_show_who_is_connected_now() -> None:
    sender, listener = Sender(), Listener()
    dispatcher.connect(listener.receive, "saved", sender)
    (reference,) = dispatcher.connections[id(sender)]["saved"]
    assert reference() == listener.receive
    assert dispatcher.senders[id(sender)]() is sender
    assert dispatcher.sendersBack == {id(reference): [id(sender)]}
    assert dispatcher.getReceivers(sender, "saved") == [reference]

    before = copy.copy(dispatcher.connections)
    dispatcher.disconnect(listener.receive, "saved", sender)
    assert not dispatcher.connections
    assert before == {id(sender): {"saved": [reference]}}


@pytest.mark.parametrize("reset", ["clear", "assign"])
def test_a_test_suite_resets_everything_as_it_always_did(reset: str) -> None:
    listener = Listener()
    dispatcher.connect(listener.receive, "saved")
    for name in ("connections", "senders", "sendersBack"):
        if reset == "clear":
            getattr(dispatcher, name).clear()
        else:
            setattr(dispatcher, name, {})
    assert dispatcher.send("saved", None, value=1) == []
    dispatcher.connect(listener.receive, "saved")
    assert dispatcher.connections


def test_a_table_cannot_be_replaced_by_another() -> None:
    with pytest.raises(DispatcherTypeError, match="is a view"):
        dispatcher.connections = {1: {}}  # type: ignore[assignment]
    dispatcher.connections = dispatcher.connections


def test_disconnecting_what_is_not_connected_is_an_error_that_says_so() -> None:
    with pytest.raises(DispatcherKeyError, match=r"^No receivers found for signal 'unheard of'"):
        dispatcher.disconnect(print, "unheard of", weak=False)


# Plugins


def test_what_a_plugin_connects_lives_and_leaves_with_it() -> None:
    plugin, log = Scope("plugin"), []
    with plugin.registering():
        dispatcher.connect(Listener(log).receive, "saved")
        dispatcher.connect(Listener(log).receive)
    gc.collect()

    dispatcher.send("saved", None, value=1)
    assert log == [1, 1]
    plugin.close()
    assert not dispatcher.connections
    dispatcher.send("saved", None, value=2)
    assert log == [1, 1]


def test_a_plugin_does_not_own_what_was_there_before() -> None:
    listener, plugin = Listener(), Scope("plugin")
    dispatcher.connect(listener.receive)
    with plugin.registering():
        mine = Listener()
        dispatcher.connect(mine.receive, "a new key")
    held = signal_of("a new key")
    plugin.close()

    dispatcher.send("a new key", None, value=1)
    assert (listener.log, mine.log) == ([1], [])
    assert len(held.connections) == 1


def test_what_is_disconnected_before_is_forgotten_by_the_plugin() -> None:
    listener, plugin = Listener(), Scope("plugin")
    with plugin.registering():
        for _ in range(3):
            dispatcher.connect(listener.receive, "saved")
            dispatcher.disconnect(listener.receive, "saved")
    assert len(plugin) == 0


# Threads


def test_threads_connect_send_and_die_beside_one_another() -> None:
    steady = Listener()
    dispatcher.connect(steady.receive, "saved")
    wrong: list[str] = []

    def come_and_go() -> None:
        for number in range(100):
            sender, listener = Sender(), Listener()
            key = "saved" if number % 3 else dispatcher.Any
            dispatcher.connect(listener.receive, key, sender, weak=bool(number % 2))
            called = [receiver for receiver, _ in dispatcher.send("saved", sender, value=1)]
            if called != [listener.receive, steady.receive]:
                wrong.append(f"{called} were called")
            if number % 5:
                dispatcher.disconnect(listener.receive, key, sender, weak=bool(number % 2))
            del called

    with eager_collection():
        at_once(*[come_and_go] * 6)
    gc.collect()
    assert wrong == []
    assert len(dispatcher.connections) == 1
    assert len(dispatcher.sendersBack) == 1


# In PyDispatcher's place


def test_installed_the_modules_are_what_is_imported() -> None:
    import pydispatch.dispatcher as theirs

    install()
    try:
        import pydispatch
        from pydispatch import __version__
        from pydispatch.robust import sendRobust

        assert pydispatch.dispatcher is dispatcher
        assert sendRobust is robust.sendRobust
        assert __version__ == "2.0.7"
        install()
    finally:
        uninstall()
    assert sys.modules["pydispatch.dispatcher"] is theirs
    uninstall()
    assert sys.modules["pydispatch.dispatcher"] is theirs


def test_a_forked_child_goes_on_alone() -> None:
    assert "child 1\nparent" in run_script(
        "import os\n"
        "from rxhub.compat.pydispatch import dispatcher\n"
        "from rxhub.compat.pydispatch.connections import table\n"
        "def receiver(): return 1\n"
        "dispatcher.connect(receiver, 'saved')\n"
        "table._lock.acquire()\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    dispatcher.connect(lambda: 2, 'saved')\n"
        "    print('child', dispatcher.send('saved')[0][1], flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "print('parent')\n"
    )
