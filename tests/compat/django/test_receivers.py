from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from functools import partial
from inspect import iscoroutinefunction
from unittest import mock

import pytest
from django.dispatch import Signal as Djangos

from rxhub.compat.django import Signal

pytestmark = pytest.mark.usefixtures("project")


class Shot:
    pass


def one(**named):
    return 1


def two(**named):
    return 2


async def three(**named):
    return 3


def four(**named):
    return 4


def filled(kind, caching=False):
    signal = kind(caching)
    signal.connect(one)
    signal.connect(two, sender=Shot, weak=False)
    signal.connect(three, dispatch_uid="three")
    return signal


def read(row):
    reference = row[1]
    return row[0], reference() if isinstance(reference, weakref.ReferenceType) else reference, row[-1]


def test_the_rows_are_djangos():
    ours, theirs = filled(Signal), filled(Djangos)
    assert [*map(read, ours.receivers)] == [*map(read, theirs.receivers)]
    assert {*map(len, ours.receivers)} == {*map(len, theirs.receivers)}
    assert [isinstance(row[1], weakref.ReferenceType) for row in ours.receivers] == [True, False, True]


def test_it_is_a_list():
    signal = Signal()
    assert isinstance(signal.receivers, list)
    assert signal.receivers == []
    assert not signal.receivers


def test_a_list_that_is_kept_grows_and_shrinks_with_the_signal():
    signal = Signal()
    kept = signal.receivers
    signal.connect(one)
    assert len(kept) == 1
    signal.disconnect(one)
    assert kept == []


def test_the_dead_leave_it():
    signal = Signal()

    def mortal(**named):
        pass

    signal.connect(mortal)
    del mortal
    gc.collect()
    assert signal.receivers == []


@pytest.mark.parametrize("kind", [Djangos, Signal])
def test_an_empty_list_mutes_and_the_old_one_brings_all_back(kind):
    signal = filled(kind)
    kept = signal.receivers
    signal.receivers = []
    signal.sender_receivers_cache.clear()
    assert signal.send(Shot) == []
    assert len(kept) == 3
    signal.connect(two)
    with signal.lock:
        signal.receivers = kept + signal.receivers
        signal.sender_receivers_cache.clear()
    assert signal.send(Shot) == [(one, 1), (two, 2), (two, 2), (three, 3)]
    assert signal.send(None) == [(one, 1), (two, 2), (three, 3)]


@pytest.mark.parametrize("kind", [Djangos, Signal])
def test_a_mock_may_stand_there_for_a_while(kind):
    signal = filled(kind)
    with mock.patch.object(signal, "receivers", []):
        assert signal.send(None) == []
    assert signal.send(None) == [(one, 1), (three, 3)]


@pytest.mark.parametrize("kind", [Djangos, Signal])
@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.clear(),
        lambda rows: rows.pop(0),
        lambda rows: rows.remove(rows[1]),
        lambda rows: rows.reverse(),
        lambda rows: rows.insert(0, rows.pop()),
        lambda rows: rows.sort(key=lambda row: str(read(row)[1])),
        lambda rows: rows.__delitem__(slice(1, None)),
        lambda rows: rows.__setitem__(slice(None), rows[1:]),
        lambda rows: rows.__setitem__(slice(None), [tuple(row) for row in rows[:2]]),
        lambda rows: rows.extend([rows.pop(0)]),
        lambda rows: rows.append(rows.pop(0)),
        lambda rows: rows.__iadd__([rows.pop(0)]),
    ],
)
def test_changing_the_list_changes_the_signal(kind, change):
    same = filled(Djangos)
    change(same.receivers)
    signal = filled(kind)
    change(signal.receivers)
    assert signal.send(Shot) == same.send(Shot)
    assert [*map(read, signal.receivers)] == [*map(read, same.receivers)]


def test_a_list_that_was_replaced_changes_nothing_any_more():
    signal = filled(Signal)
    kept = signal.receivers
    signal.receivers = kept[:1]
    kept.clear()
    assert signal.send(Shot) == [(one, 1)]


def test_what_comes_back_has_its_place_and_its_subscription():
    signal = Signal()
    seen = []
    subscription = signal.on(priority=1).subscribe(lambda emission: seen.append("pipeline"))
    signal.connect(lambda **named: seen.append("where"), weak=False, where="n=1", priority=5)
    rows = signal.receivers
    signal.receivers = []
    signal.send(None, n=1)
    assert seen == []
    signal.receivers = [*reversed(rows)]
    signal.send(None, n=0)
    signal.send(None, n=1)
    assert seen == ["pipeline", "pipeline", "where"]
    subscription.dispose()
    assert len(signal.receivers) == 1


def test_nobody_comes_back_for_a_sender_that_has_died():
    signal = Signal()

    class Sender:
        pass

    signal.connect(one, sender=Sender)
    rows = signal.receivers
    signal.receivers = []
    del Sender
    gc.collect()
    signal.receivers = rows
    assert signal.receivers == []
    assert signal.send(None) == []


# Rows that a program made itself


def row_of(receiver, sender=None, is_async=False, uid=None):
    """A row in the format of the installed Django."""
    made = Djangos()
    made.connect(receiver, sender=sender, weak=not isinstance(receiver, partial), dispatch_uid=uid)
    (row,) = made.receivers
    return (*row[:-1], is_async)


def wrapped(receiver):
    receiver = receiver() if isinstance(receiver, weakref.ref) else receiver

    async def awaiting_wrapper(**named):
        return "wrapped", await receiver(**named)

    def wrapper(**named):
        return "wrapped", receiver(**named)

    return awaiting_wrapper if iscoroutinefunction(receiver) else wrapper


class Owner:
    def receive(self, **named):
        return "method"


OWNER = Owner()


@pytest.mark.parametrize("kind", [Djangos, Signal])
@pytest.mark.parametrize("caching", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.insert(0, row_of(four)),
        lambda rows: rows.append(row_of(four, Shot)),
        lambda rows: rows.append(row_of(four, Owner)),
        lambda rows: rows.append(row_of(partial(one, n=1))),
        lambda rows: rows.append(row_of(OWNER.receive, Shot)),
        lambda rows: rows.append(row_of(four, Shot, uid="uid")),
        lambda rows: rows.extend([row_of(four), row_of(OWNER.receive)]),
        lambda rows: (rows.append(row_of(four)), rows.append(row_of(OWNER.receive)), rows.pop(0), rows.reverse()),
        lambda rows: (rows.append(row_of(four)), rows.remove(row_of(four))),
        lambda rows: rows.__setitem__(0, row_of(four)),
        lambda rows: rows.__setitem__(slice(None), [(row[0], wrapped(row[1]), *row[2:]) for row in rows]),
        lambda rows: rows.__setitem__(0, (rows[0][0], wrapped(rows[0][1]), *rows[0][2:])),
    ],
)
def test_rows_that_a_program_made_are_receivers(kind, caching, change):
    same, signal = filled(Djangos, caching), filled(kind, caching)
    results = []
    for each in (same, signal):
        with each.lock:
            change(each.receivers)
            each.sender_receivers_cache.clear()
        results.append(
            [
                [value for _, value in each.send(Shot)],
                [value for _, value in each.send(Owner)],
                [value for _, value in each.send_robust(Owner)],
                [value for _, value in asyncio.run(each.asend(Shot))],
                each.has_listeners(Owner),
                len(each.receivers),
                [each.connect(four, sender=Shot)] and len(each.receivers),
                each.disconnect(four, sender=Shot),
                each.disconnect(four),
                each.disconnect(one),
                each.disconnect(dispatch_uid="uid", sender=Shot),
                each.disconnect(OWNER.receive, sender=Shot),
                [value for _, value in each.send(Shot)],
            ]
        )
    assert results[0] == results[1]


@pytest.mark.parametrize("kind", [Djangos, Signal])
def test_a_row_of_a_coroutine_function_is_awaited(kind):
    async def receiver(**named):
        return "awaited"

    signal = filled(kind)
    signal.receivers.insert(0, row_of(receiver, is_async=True))
    assert [value for _, value in signal.send(Shot)] == [1, 2, "awaited", 3]
    assert [value for _, value in asyncio.run(signal.asend_robust(Shot))] == [1, 2, "awaited", 3]


@pytest.mark.parametrize("kind", [Djangos, Signal])
def test_a_row_leaves_with_its_receiver(kind):
    def receiver(**named):
        return "inserted"

    signal = kind()
    signal.receivers.append(row_of(receiver))
    assert [value for _, value in signal.send(Shot)] == ["inserted"]
    del receiver
    gc.collect()
    assert signal.send(Shot) == []
    signal._remove_receiver() if hasattr(signal, "_remove_receiver") else signal._flag_dead_receivers()
    assert signal._dead_receivers
    with signal.lock:
        signal._clear_dead_receivers()
    assert not signal._dead_receivers
    assert signal.receivers == []


def test_a_wrapped_row_keeps_its_priority_and_its_subscription():
    signal = Signal()
    signal.connect(one)
    signal.connect(four, where="n=1", priority=5)
    signal.receivers = [(row[0], wrapped(row[1]), *row[2:]) for row in signal.receivers]
    assert [value for _, value in signal.send(Shot, n=1)] == [("wrapped", 4), ("wrapped", 1)]
    assert [value for _, value in signal.send(Shot, n=2)] == [("wrapped", 1)]


@pytest.mark.parametrize("kind", [Djangos, Signal])
def test_plain_tuples_of_rows_may_be_put_back(kind):
    signal = filled(kind)
    rows = [tuple(row) for row in signal.receivers]
    signal.receivers = []
    assert signal.send(Shot) == []
    signal.receivers = rows
    assert signal.send(Shot) == [(one, 1), (two, 2), (three, 3)]
    assert signal.disconnect(two, sender=Shot)
    assert signal.disconnect(one)
    assert signal.send(Shot) == [(three, 3)]


@pytest.mark.parametrize("row", [None, (), (1, one, False), ((1, 2, 3), one, False), ((1, []), one, False), "row"])
def test_what_is_no_row_is_refused(row):
    signal = Signal()
    with pytest.raises(ValueError, match=r"use signal\.connect"):
        signal.receivers = [row]
    assert signal.receivers == []


@pytest.mark.parametrize("kind", [Djangos, Signal])
def test_programs_that_change_the_list_exclude_others_by_the_lock(kind):
    signal = filled(kind)
    before = len(signal.receivers)
    thread = threading.Thread(target=signal.connect, args=(four,))
    with signal.lock:
        rows = list(signal.receivers)
        thread.start()
        signal.receivers = rows[:-1]
    thread.join(10)
    assert len(signal.receivers) == before
