"""What is subscribed in somebody's name leaves with him."""

from __future__ import annotations

from typing import Any

import pytest
from reactivex import operators as ops

from rxhub.errors import ScopeClosed
from rxhub.rx.scope import Scope
from rxhub.rx.scoped_subject import ScopedSubject


def test_observers_leave_with_their_owner_and_the_others_stay() -> None:
    subject, owner, seen = ScopedSubject[int](), Scope("a"), list[Any]()
    subject.subscribe(lambda n: seen.append(("stranger", n)))
    with owner.registering():
        subject.subscribe(lambda n: seen.append(("own", n)))
        subject.pipe(ops.map(lambda n: -n)).subscribe(lambda n: seen.append(("pipeline", n)))
    subject.on_next(1)
    assert len(owner) == 2
    owner.close()
    subject.on_next(2)
    assert seen == [("stranger", 1), ("own", 1), ("pipeline", -1), ("stranger", 2)]


def test_who_left_by_himself_is_forgotten() -> None:
    subject, owner = ScopedSubject[int](), Scope("a")
    with owner.registering():
        with subject.subscribe(print):
            assert len(owner) == 1
        subject.pipe(ops.take(1)).subscribe(lambda n: None)
    subject.on_next(1)
    assert len(owner) == 0 and not subject.observers


def test_who_has_left_subscribes_nothing() -> None:
    subject, owner = ScopedSubject[int](), Scope("a")
    owner.close()
    with owner.registering(), pytest.raises(ScopeClosed):
        subject.subscribe(print)
    assert not subject.observers
