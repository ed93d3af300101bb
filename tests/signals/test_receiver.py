from functools import partial, wraps
from unittest.mock import Mock, create_autospec

import pytest

from rxhub.signals.receiver import OBSERVER, PLAIN, spec_of


def plain(**named): ...


def asking(emission, **named): ...


def local_of_that_name(**named):
    for emission in named:
        print(emission)


async def coroutine(**named): ...


async def coroutine_asking(*, emission, **named): ...


def explicit(signal, sender, shot): ...


class Callable:
    def method(self, sender, **named): ...

    async def coroutine(self, **named): ...

    def __call__(self, emission, **named): ...


class Constructed:
    def __init__(self, **named): ...


@pytest.mark.parametrize(
    ("receiver", "asks", "awaits"),
    [
        (plain, False, False),
        (asking, True, False),
        (local_of_that_name, False, False),
        (coroutine, False, True),
        (coroutine_asking, True, True),
        (explicit, False, False),
        (Callable().method, False, False),
        (Callable().coroutine, False, True),
        (Callable(), True, False),
        (Constructed, False, False),
        (partial(coroutine_asking), True, True),
        (partial(partial(plain), a=1), False, False),
        (print, False, False),
        ({}.update, False, False),
        (Mock(), False, False),
    ],
)
def test_what_a_receiver_asks_for_is_read_from_its_signature(receiver, asks, awaits):
    spec = spec_of(receiver)
    assert (spec.wants_emission, spec.is_async, spec.is_observer) == (asks, awaits, False)
    assert spec.plain == (not asks and not awaits)


@pytest.mark.parametrize(
    ("receiver", "missing"),
    [(lambda: None, "signal"), (lambda signal: None, "sender"), (lambda sender, shot: None, "signal")],
)
def test_one_that_could_never_be_called_is_refused(receiver, missing):
    with pytest.raises(TypeError, match=f"takes no {missing}="):
        spec_of(receiver)


def test_the_entrance_of_a_pipeline_is_not_plain():
    assert PLAIN.plain
    assert not OBSERVER.plain


def wrapped(function):
    @wraps(function)
    def wrapper(*args, **named):
        return function(*args, **named)

    return wrapper


@pytest.mark.parametrize(
    ("receiver", "asks"),
    [
        (wrapped(asking), True),
        (wrapped(plain), False),
        (partial(asking, emission="mine"), False),
        (partial(asking, "first"), False),
        (create_autospec(plain), False),
    ],
    ids=["wrapper of one that asks", "wrapper", "filled by name", "filled by place", "mock"],
)
def test_an_emission_is_given_where_it_is_still_open(receiver, asks):
    assert spec_of(receiver).wants_emission == asks


def test_what_can_only_be_given_by_place_is_not_given_by_name():
    with pytest.raises(TypeError, match="takes no signal="):
        spec_of(lambda sender, signal, /: None)
