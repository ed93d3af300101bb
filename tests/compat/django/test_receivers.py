from __future__ import annotations

import gc
import weakref
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


def filled(kind):
    signal = kind()
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


def test_a_row_from_nowhere_is_refused():
    signal = Signal()
    with pytest.raises(ValueError, match=r"Use signal\.connect"):
        signal.receivers = [((1, 2), one, False)]
