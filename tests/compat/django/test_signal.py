from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import weakref
from contextlib import contextmanager

import pytest
from asgiref.sync import markcoroutinefunction
from django.dispatch import Signal as DjangosSignal
from reactivex import operators as ops

from rxhub import where
from rxhub.compat.django import Signal, receiver
from rxhub.signals import signal as rxhub_signal

pytestmark = pytest.mark.usefixtures("project")


@contextmanager
def debug(on):
    from django.test.utils import override_settings

    with override_settings(DEBUG=on):
        yield


def answer(**named):
    return 1


async def answer_later(**named):
    return 2


class Shot:
    pass


# Connecting


def test_with_debug_a_receiver_must_be_callable():
    with debug(True), pytest.raises(TypeError, match=r"^Signal receivers must be callable\.$"):
        Signal().connect(object())


def test_with_debug_a_receiver_must_take_keywords():
    with (
        debug(True),
        pytest.raises(ValueError, match=r"^Signal receivers must accept keyword arguments \(\*\*kwargs\)\.$"),
    ):
        Signal().connect(lambda sender: None)


def test_without_debug_the_send_tells():
    signal = Signal()

    def short(sender):
        pass

    with debug(False):
        signal.connect(short)
    with pytest.raises(TypeError, match="signal"):
        signal.send(Shot)


def test_an_empty_uid_is_none():
    signal = Signal()
    signal.connect(answer, dispatch_uid="")
    assert signal.disconnect(answer)


def test_disconnect_says_whether():
    signal = Signal()
    signal.connect(answer, sender=Shot, dispatch_uid="x")
    assert signal.disconnect(sender=Shot, dispatch_uid="x") is True
    assert signal.disconnect(sender=Shot, dispatch_uid="x") is False
    assert signal.disconnect(answer) is False
    assert signal.disconnect() is False


def test_the_decorator_takes_a_signal_a_list_or_a_tuple():
    one, two, three = Signal(), Signal(), Signal()

    @receiver(one, sender=Shot)
    @receiver([two])
    @receiver((three,), dispatch_uid="x")
    def f(**named):
        return 7

    assert one.send(Shot) == two.send(None) == three.send(None) == [(f, 7)]
    assert one.send(None) == []


@pytest.mark.parametrize("use_caching", [False, True])
def test_no_sender_is_kept(use_caching):
    signal = Signal(use_caching=use_caching)
    signal.connect(answer)

    class Sender:
        pass

    signal.connect(answer, sender=Sender)
    signal.send(Sender)
    gone = weakref.ref(Sender)
    del Sender
    gc.collect()
    assert gone() is None
    assert len(signal.receivers) == 1


def test_a_lazy_connection_is_known_to_the_system_checks():
    from django.db.models.signals import ModelSignal

    assert (Signal.connect.__module__, Signal.connect.__name__) == (
        ModelSignal.__base__.connect.__module__,
        ModelSignal.__base__.connect.__name__,
    )


# Sending


def test_async_receivers_come_last_whatever_their_priority():
    signal = Signal()
    signal.connect(answer_later, priority=1)
    signal.connect(answer)
    assert signal.send(Shot) == signal.send_robust(Shot) == [(answer, 1), (answer_later, 2)]
    assert asyncio.run(signal.asend(Shot)) == asyncio.run(signal.asend_robust(Shot)) == signal.send(Shot)


def test_async_receivers_run_side_by_side():
    signal = Signal()
    first_may_end = contextvars.ContextVar("first_may_end")

    async def waits(**named):
        await first_may_end.get().wait()
        return "waited"

    async def wakes(**named):
        first_may_end.get().set()

    signal.connect(waits)
    signal.connect(wakes)

    async def main():
        first_may_end.set(asyncio.Event())
        return await signal.asend(None)

    assert asyncio.run(main()) == [(waits, "waited"), (wakes, None)]


def test_sync_receivers_of_asend_share_contextvars_with_the_sender():
    variable = contextvars.ContextVar("variable", default="untouched")
    signal = Signal()

    def touch(**named):
        assert variable.get() == "sent"
        variable.set("touched")

    signal.connect(touch)

    async def main():
        variable.set("sent")
        await signal.asend(None)
        return variable.get()

    assert asyncio.run(main()) == "touched"


def test_sync_receivers_of_asend_may_use_what_refuses_a_loop():
    from django.db import connection

    signal = Signal()

    def query(**named):
        with connection.cursor() as cursor:
            return cursor.execute("select 1").fetchone()

    signal.connect(query)
    assert asyncio.run(signal.asend(None)) == [(query, (1,))]


def test_send_of_async_receivers_in_a_running_loop_is_refused_as_in_django():
    from django.dispatch import Signal as Djangos

    async def main(signal):
        signal.connect(answer_later)
        with pytest.raises(RuntimeError) as caught:
            signal.send(None)
        return str(caught.value)

    assert asyncio.run(main(Signal())) == asyncio.run(main(Djangos()))


def test_only_a_marked_object_is_async():
    class Later:
        async def __call__(self, **named):
            return 3

    unmarked, marked = Later(), markcoroutinefunction(Later())
    signal = Signal()
    signal.connect(marked)
    assert signal.send(None) == [(marked, 3)]
    signal.disconnect(marked)
    signal.connect(unmarked)
    [(_, coroutine)] = signal.send(None)
    assert asyncio.run(coroutine) == 3


def test_when_a_sync_receiver_raises_no_async_one_begins():
    begun = []
    signal = Signal()

    async def begin(**named):
        begun.append(1)

    def fail(**named):
        raise ValueError("no")

    signal.connect(begin)
    signal.connect(fail)
    with pytest.raises(ValueError, match="no"):
        signal.send(None)
    with pytest.raises(ValueError, match="no"):
        asyncio.run(signal.asend(None))
    assert begun == []


@pytest.mark.parametrize("way", ["send", "asend"])
def test_what_an_async_receiver_raises_reaches_the_sender(way):
    signal = Signal()

    async def fail(**named):
        raise ValueError("no")

    signal.connect(answer)
    signal.connect(answer_later)
    signal.connect(fail)
    with pytest.raises(ValueError, match="no"):
        signal.send(None) if way == "send" else asyncio.run(signal.asend(None))


def test_what_a_receiver_raises_is_logged_as_django_logs_it(caplog):
    signal = Signal()
    errors = []
    signal.errors.subscribe(errors.append)

    def fail(**named):
        raise ValueError("this")

    async def fail_later(**named):
        raise ValueError("that")

    class Failing:
        def __call__(self, **named):
            raise ValueError("nameless")

    failing = Failing()
    signal.connect(fail)
    signal.connect(fail_later)
    signal.connect(failing)
    with caplog.at_level(logging.ERROR, "django.dispatch"):
        responses = signal.send_robust(None)
    assert [answer[0] for answer in responses] == [fail, failing, fail_later]
    assert [error for _, error in responses] == errors
    assert caplog.messages == [
        f"Error calling {fail.__qualname__} in Signal.send_robust() (this)",
        f"Error calling {failing!r} in Signal.send_robust() (nameless)",
        f"Error calling {fail_later.__qualname__} in Signal.send_robust() (that)",
    ]
    assert all(record.name == "django.dispatch" and record.exc_info for record in caplog.records)


def test_receivers_are_called_by_the_frame_that_sends():
    # Django's tests warn with a stacklevel that counts the frames between the sender and the receiver.
    import inspect

    signal = Signal()

    def caller(**named):
        return inspect.stack()[2].function

    signal.connect(caller)
    assert [signal.send(None), signal.send_robust(None)] == [[(caller, inspect.stack()[0].function)]] * 2


# What rxhub adds


def test_rxhubs_abilities_are_there():
    signal = Signal()
    seen = []
    signal.connect(lambda **named: seen.append("last"), weak=False, priority=200)
    signal.connect(lambda **named: seen.append("where"), weak=False, where="created=true")
    signal.on("sender=Shot", priority=50).pipe(ops.map(lambda e: e["created"])).subscribe(seen.append)
    signal.send(Shot, created=True)
    signal.send(Shot, created=False)
    with signal.muted():
        signal.send(Shot, created=True)
    assert seen == [True, "where", "last", False, "last"]


def test_a_stopped_emission_reaches_no_async_receiver():
    signal = Signal()

    def stop(emission, **named):
        emission.stop()

    signal.connect(stop)
    signal.connect(answer_later)
    assert signal.send(None) == [(stop, None)]


def test_it_is_rxhubs_signal_and_knows_its_name(monkeypatch):
    import django.db.models.signals as module

    signal = Signal()
    assert isinstance(signal, rxhub_signal.Signal)
    monkeypatch.setattr(module, "finished", signal, raising=False)
    assert signal.name == "finished"
    seen = []
    signal.pipe(where("signal=finished")).subscribe(seen.append)
    signal.send(Shot)
    assert len(seen) == 1
    assert Signal(name="named").name == "named"


def test_when_nobody_listens_anything_may_be_sent():
    assert Signal().send(None, signal=1) == Signal().send_robust(None, signal=1) == []


# Subclasses that send in a way of their own


class Backwards(Signal):
    """Sends through private methods, as public subclasses of Django's signal do."""

    def send(self, sender, **named):
        from django.dispatch.dispatcher import NO_RECEIVERS

        if not self.receivers or self.sender_receivers_cache.get(sender) is NO_RECEIVERS:
            return []
        synchronous, asynchronous = self._live_receivers(sender)
        assert not asynchronous
        return [(call, call(signal=self, sender=sender, **named)) for call in reversed(synchronous)]


def test_a_subclass_may_send_what_is_inside():
    signal = Backwards()
    assert signal.send(None) == []
    order = []
    signal.connect(lambda **named: order.append("a"), weak=False)
    signal.connect(lambda **named: order.append("b"), weak=False, where="n=1")
    signal.on().subscribe(lambda emission: order.append(emission["n"]))
    signal.send(None, n=1)
    assert order == [1, "b", "a"]


def test_live_async_receivers_can_be_awaited():
    signal = Signal()
    signal.connect(answer_later)
    signal.connect(answer_later, dispatch_uid="of ones", where="n=1")
    synchronous, asynchronous = signal._live_receivers(None)
    assert synchronous == []

    async def main(n):
        return [await call(signal=signal, sender=None, n=n) for call in asynchronous]

    assert asyncio.run(main(1)) == [2, 2]
    assert asyncio.run(main(0)) == [2, None]


def test_what_takes_no_weak_reference_is_refused_as_django_does():
    class Slotted:
        __slots__ = ()

        def method(self, **named): ...

        def __call__(self, **named): ...

    for slotted in (Slotted(), Slotted().method):
        for each in (Signal(), DjangosSignal()):
            with pytest.raises(TypeError, match="cannot create weak reference to 'Slotted' object"):
                each.connect(slotted)
    kept = Signal()
    kept.connect(Slotted().method, weak=False)
    assert kept.has_listeners()
