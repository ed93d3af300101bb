"""The subject, against reactivex's own.

Each observer is a callback that does nothing, so that what is timed is the way to it.
"""

from __future__ import annotations

import reactivex

from rxhub.rx.subject import Subject
from tests.benchmarks.measure import Goal, Loop, Row, at_most, compare, faster

__all__ = ["run"]

_PEER = "reactivex.Subject"


def _ignore(value: object) -> None:
    pass


def _crowd(subject: reactivex.Subject[int], size: int) -> reactivex.Subject[int]:
    for _ in range(size):
        subject.subscribe(_ignore)
    return subject


def _emitting(observers: int, goal: Goal | None, what: str = "", **policy: object) -> Row:
    ours, peer = (_crowd(subject, observers) for subject in (Subject[int](**policy), reactivex.Subject[int]()))
    what = f"on_next, {observers:,} observer{'' if observers == 1 else 's'}{what}"
    loops = [Loop("on_next(1)", on_next=subject.on_next) for subject in (ours, peer)]
    return compare(what, *loops, goal, peer_name=_PEER)


def _joining(observers: int, goal: Goal | None) -> Row:
    loops = [
        Loop("subscribe(callback).dispose()", subscribe=_crowd(subject, observers).subscribe, callback=_ignore)
        for subject in (Subject[int](), reactivex.Subject[int]())
    ]
    return compare(f"subscribe + dispose among {observers:,}", *loops, goal, peer_name=_PEER)


def _joining_between(observers: int, goal: Goal | None) -> Row:
    loops = [
        Loop(
            "held = subscribe(callback); on_next(1); held.dispose()",
            subscribe=s.subscribe,
            on_next=s.on_next,
            callback=_ignore,
        )
        for s in (_crowd(subject, observers) for subject in (Subject[int](), reactivex.Subject[int]()))
    ]
    return compare(f"the same with an on_next between, {observers:,}", *loops, goal, peer_name=_PEER)


def _nested(goal: Goal | None) -> Row:
    """An observer that emits from within, and one beside it."""
    loops: list[Loop] = []
    for subject in (Subject[int](), reactivex.Subject[int]()):

        def echo(value: int, subject: reactivex.Subject[int] = subject) -> None:
            if value:
                subject.on_next(0)

        subject.subscribe(echo)
        subject.subscribe(_ignore)
        loops.append(Loop("on_next(1)", per=2, on_next=subject.on_next))
    return compare("on_next from within an observer", *loops, goal, peer_name=_PEER)


def run() -> list[Row]:
    return [
        _emitting(0, at_most(1)),
        _emitting(1, faster(5)),
        _emitting(10, faster(2)),
        _emitting(1_000, at_most(1)),
        _emitting(1, at_most(1), ", serialize", serialize=True),
        _emitting(1_000, at_most(1), ", serialize", serialize=True),
        _emitting(1, at_most(1.25), ', "raise"', on_observer_error="raise"),
        _nested(at_most(1.5)),
        _joining(1, at_most(1)),
        _joining(10_000, faster(5)),
        _joining_between(1_000, at_most(1)),
        compare(
            "making one",
            Loop("Subject()", Subject=Subject),
            Loop("Subject()", Subject=reactivex.Subject),
            at_most(1),
            peer_name=_PEER,
        ),
    ]
