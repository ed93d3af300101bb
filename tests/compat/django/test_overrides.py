"""Overrides of `_live_receivers` have the same effect on rxhub's signal as on Django's."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import contextmanager
from functools import partial, wraps
from unittest import mock

import pytest
from django.dispatch import Signal as Djangos

from rxhub.compat.django import Signal

pytestmark = pytest.mark.usefixtures("project")

KINDS = pytest.mark.parametrize("kind", [Djangos, Signal])


class Sender:
    pass


def plain(value=0, **named):
    return "plain", value


def failing(**named):
    raise ValueError("a receiver")


async def awaited(value=0, **named):
    return "awaited", value


def traced(seen, receivers):
    """Wrap each receiver to log its calls, as sentry-sdk does."""

    def wrapper(receiver):
        @wraps(receiver)
        def call(**named):
            seen.append(receiver.__qualname__)
            return receiver(**named)

        return call

    return [wrapper(receiver) for receiver in receivers]


@contextmanager
def subclassed(kind, seen):
    class Traced(kind):
        def _live_receivers(self, sender):
            return tuple(traced(seen, each) for each in super()._live_receivers(sender))

    yield Traced()


@contextmanager
def patched_class(kind, seen, late=False):
    original = kind._live_receivers
    signal = kind()

    def live_receivers(self, sender):
        return tuple(traced(seen, each) for each in original(self, sender))

    kind._live_receivers = live_receivers
    try:
        yield signal
    finally:
        kind._live_receivers = original


@contextmanager
def patched_before_it_was_made(kind, seen):
    with patched_class(kind, seen):
        yield kind()


@contextmanager
def patched_by_mock(kind, seen):
    original = kind._live_receivers
    signal = kind()
    with mock.patch.object(kind, "_live_receivers", autospec=True) as patched:
        patched.side_effect = lambda self, sender: tuple(traced(seen, each) for each in original(self, sender))
        yield signal


@contextmanager
def patched_subclass(kind, seen):
    class Sub(kind):
        pass

    signal = Sub()
    original = Sub._live_receivers
    Sub._live_receivers = lambda self, sender: tuple(traced(seen, each) for each in original(self, sender))
    yield signal


@contextmanager
def patched_instance(kind, seen):
    signal = kind()
    original = signal._live_receivers
    signal._live_receivers = lambda sender: tuple(traced(seen, each) for each in original(sender))
    yield signal


@contextmanager
def given_a_class(kind, seen):
    class Traced(kind):
        def _live_receivers(self, sender):
            return tuple(traced(seen, each) for each in super()._live_receivers(sender))

    signal = kind()
    signal.__class__ = Traced
    yield signal


WAYS = pytest.mark.parametrize(
    "way",
    [
        subclassed,
        patched_class,
        patched_before_it_was_made,
        patched_by_mock,
        patched_subclass,
        patched_instance,
        given_a_class,
    ],
)


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("django.dispatch").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("django.dispatch").setLevel(logging.NOTSET)


def values(responses):
    return [str(value) for _, value in responses]


def program(signal, seen):
    """The visible behaviour of a traced signal."""
    results = [values(signal.send(Sender, value=1)), signal.has_listeners(Sender)]
    signal.connect(plain)
    signal.connect(awaited, sender=Sender)
    results += [values(signal.send(Sender, value=2)), values(signal.send(None, value=3))]
    signal.connect(failing)
    results += [values(signal.send_robust(Sender)), values(asyncio.run(signal.asend_robust(Sender, value=4)))]
    with pytest.raises(ValueError, match="a receiver"):
        signal.send(Sender)
    signal.disconnect(failing)
    results += [values(asyncio.run(signal.asend(Sender))), signal.has_listeners(Sender)]
    results.append([receiver.__qualname__ for receiver, _ in signal.send(Sender)])
    signal.disconnect(plain)
    signal.disconnect(awaited, sender=Sender)
    # In another order: 5.2 begins coroutine receivers of `asend` before the synchronous ones.
    return [*results, values(signal.send(Sender)), sorted(seen)]


@WAYS
def test_every_way_of_sending_uses_it_as_django_does(way):
    told = []
    for kind in (Djangos, Signal):
        seen = []
        with way(kind, seen) as signal:
            told.append(program(signal, seen))
    assert told[0] == told[1]
    assert "plain" in told[1][-1] and "awaited" in told[1][-1] and "failing" in told[1][-1]


@KINDS
def test_one_that_was_taken_back_has_no_effect_any_more(kind):
    seen = []
    with patched_class(kind, seen) as patched, patched_instance(kind, seen) as single:
        patched.connect(plain)
        single.connect(plain)
        patched.send(None)
        assert seen == ["plain"]
    patched.send(None)
    assert seen == ["plain"]
    single.send(None)
    assert seen == ["plain", "plain", "plain"]  # what it kept was the patched method
    del single._live_receivers
    single.send(None)
    assert len(seen) == 3


def test_a_signal_without_one_is_sent_the_quick_way_again():
    signal = Signal()
    signal.connect(plain)
    with patched_class(Signal, []):
        assert signal._connections.plain(None) is None
    assert signal._connections.plain(None) is not None
    signal._live_receivers = signal._live_receivers
    assert signal._connections.plain(None) is None
    del signal._live_receivers
    assert signal._connections.plain(None) is not None


def test_one_of_a_subclass_leaves_other_signals_alone():
    seen = []
    other = Signal()
    other.connect(plain)
    with subclassed(Signal, seen) as signal:
        signal.connect(plain)
        other.send(None)
        assert seen == [] and other._connections.plain(None) is not None


@KINDS
def test_receivers_that_it_leaves_out_or_adds(kind):
    class Filtered(kind):
        def _live_receivers(self, sender):
            synchronous, asynchronous = super()._live_receivers(sender)
            return [*synchronous[1:], partial(plain, value="added")], asynchronous

    signal = Filtered()
    assert signal.send(None) == []  # nobody is connected: Django does not ask either
    signal.connect(failing)
    assert values(signal.send(None)) == ["('plain', 'added')"]


@KINDS
def test_the_receivers_of_senders_that_died_are_not_among_them(kind):
    signal = kind()
    signal.connect(plain)

    def mortal(**named):
        pass

    signal.connect(mortal)
    assert signal._live_receivers(None) == ([plain, mortal], [])
    del mortal
    gc.collect()
    assert signal._dead_receivers
    assert signal._live_receivers(None) == ([plain], [])


@WAYS
def test_what_rxhub_adds_works_below_the_wrappers(way):
    seen, told = [], []
    with way(Signal, seen) as signal:

        def stops(emission, value=0, **named):
            told.append(("stops", value, emission["value"]))
            if value == 3:
                emission.stop()

        def large(value, **named):
            return "large", value

        async def late(emission, **named):
            return "late", emission["value"]

        signal.connect(stops, priority=1)
        signal.connect(large, where="value>1", priority=2)
        signal.connect(late, where="value>0 and sender=Sender")
        pipeline = signal.on("value<3").subscribe(lambda emission: told.append(("pipeline", emission["value"])))
        assert values(signal.send(Sender, value=1)) == ["None", "('late', 1)"]
        assert values(signal.send(Sender, value=2)) == ["None", "('large', 2)", "('late', 2)"]
        assert values(signal.send(Sender, value=3)) == ["None"]
        assert values(asyncio.run(signal.asend(None, value=2))) == ["None", "('large', 2)"]
        assert told == [
            ("stops", 1, 1),
            ("pipeline", 1),
            ("stops", 2, 2),
            ("pipeline", 2),
            ("stops", 3, 3),
            ("stops", 2, 2),
            ("pipeline", 2),
        ]
        with signal.muted():
            assert signal.send(Sender, value=2) == []
        pipeline.dispose()
    assert "test_what_rxhub_adds_works_below_the_wrappers.<locals>.large" in seen


def test_an_override_of_the_log_is_called():
    logged = []

    class Logging(Signal):
        def _log_robust_failure(self, receiver, err):
            logged.append((receiver, str(err)))

    for signal in (Logging(), Logging()):
        signal.connect(failing)
        signal.send_robust(None)
        asyncio.run(signal.asend_robust(None))
    assert logged == [(failing, "a receiver")] * 4
