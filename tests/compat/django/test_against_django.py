"""The same program has the same results on Django's signal and on rxhub's."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from time import sleep

import pytest
from django.dispatch import Signal as Djangos
from hypothesis import given, settings
from hypothesis import strategies as st

from rxhub.compat.django import Signal

pytestmark = pytest.mark.usefixtures("project")

SENDERS = [None, *(type(f"Sender{n}", (), {}) for n in range(2))]


@pytest.fixture(scope="module", autouse=True)
def quiet():
    logger = logging.getLogger("django.dispatch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


class Error(Exception):
    def __eq__(self, other):
        return type(other) is Error and self.args == other.args

    __hash__ = Exception.__hash__


def makers():
    def plain(name):
        def receiver(value, **named):
            return name, value

        return receiver

    def raising(name):
        def receiver(value, **named):
            if value % 2:
                raise Error(name, value)
            return name, value

        return receiver

    def method(name):
        class Owner:
            def receive(self, sender, value, **named):
                return name, SENDERS.index(sender), value

        return Owner()

    def coroutine(name):
        async def receiver(value, **named):
            return name, value

        return receiver

    def raising_coroutine(name):
        async def receiver(value, **named):
            raise Error(name, value)

        return receiver

    return [plain, raising, method, coroutine, raising_coroutine]


class Program:
    """A signal, and its receivers by number."""

    def __init__(self, signal):
        self.signal = signal
        self.living = {n: make(n) for n, make in enumerate([*makers(), *makers()])}

    def of(self, n):
        living = self.living.get(n)
        return getattr(living, "receive", living)

    def named(self, responses):
        numbers = {self.of(n): n for n in self.living}
        return [(numbers[receiver], value) for receiver, value in responses]

    def run(self, step, *arguments):
        try:
            return getattr(self, step)(*arguments)
        except Error as error:
            return error

    def connect(self, n, sender, weak, uid):
        if self.of(n) is not None:
            self.signal.connect(self.of(n), sender=SENDERS[sender], weak=weak, dispatch_uid=uid)

    def disconnect(self, n, sender, uid):
        if self.of(n) is not None:
            return self.signal.disconnect(self.of(n), sender=SENDERS[sender], dispatch_uid=uid)
        return None

    def delete(self, n):
        receiver = self.of(n)
        # A strong connection would keep the receiver, and nobody could tell its number.
        rows = [row[1] for row in self.signal.receivers]
        if receiver is not None and not any(row is receiver or row == receiver for row in rows):
            gone = weakref.ref(self.living.pop(n))
            del receiver
            for _ in range(100):
                gc.collect()
                if gone() is None:
                    break
                sleep(0.01)  # while another thread collects garbage, a collection does nothing

    def send(self, sender, value):
        return self.named(self.signal.send(SENDERS[sender], value=value))

    def send_robust(self, sender, value):
        return self.named(self.signal.send_robust(sender=SENDERS[sender], value=value))

    def asend_robust(self, sender, value):
        return self.named(asyncio.run(self.signal.asend_robust(SENDERS[sender], value=value)))

    def look(self, senders):
        # In this order: Django keeps the dead in its list until it is asked something else.
        return [self.signal.has_listeners(sender) for sender in senders], len(self.signal.receivers)


receivers = st.integers(0, 9)
senders = st.integers(0, 2)
values = st.integers(0, 3)
uids = st.sampled_from([None, None, "a", "b"])
steps = st.one_of(
    st.tuples(st.just("connect"), receivers, senders, st.booleans(), uids),
    st.tuples(st.just("disconnect"), receivers, senders, uids),
    st.tuples(st.just("delete"), receivers),
    st.tuples(st.sampled_from(["send", "send_robust", "asend_robust"]), senders, values),
)


@settings(max_examples=50)  # each collects garbage, with all of Django in memory
@given(st.booleans(), st.lists(steps, max_size=25))
def test_a_program_has_the_same_results(use_caching, program):
    theirs, ours = Program(Djangos(use_caching)), Program(Signal(use_caching))
    # Django cannot cache for nobody: "cannot create weak reference to 'NoneType' object".
    senders = SENDERS[1:] if use_caching else SENDERS
    for step in program:
        if use_caching and "send" in step[0] and step[1] == 0:
            continue
        assert ours.run(*step) == theirs.run(*step), step
        assert ours.look(senders) == theirs.look(senders), step
