"""`rxhub.compat.django.Signal`, against Django's own with and without caching.

Each receiver does nothing, so that what is timed is the way to it.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.dispatch import Signal as DjangoSignal

from rxhub.compat.django import Signal
from tests.benchmarks.measure import Goal, Loop, Row, at_most, compare

__all__ = ["run"]

_SENDING = "send(sender, instance=1, created=True)"


class _Sender:
    pass


class _Other:
    pass


def _filled(signal: Any, receivers: int, sender: object) -> Any:
    for _ in range(receivers):

        def receiver(sender: object, **named: object) -> None:
            pass

        signal.connect(receiver, sender=sender, weak=False)
    return signal


def _sending(way: str, receivers: int, sender: object, whose: str, goal: Goal | None) -> list[Row]:
    what = f"{way}, {receivers:,} receiver{'' if receivers == 1 else 's'} of {whose}"

    def loop(signal: Any) -> Loop:
        return Loop(_SENDING, send=getattr(_filled(signal, receivers, sender), way), sender=_Sender)

    return [
        compare(what, loop(Signal(caching)), loop(DjangoSignal(caching)), goal, peer_name=name)
        for caching, name in ((False, "Django"), (True, "Django, caching"))
    ]


def run() -> list[Row]:
    if not settings.configured:
        settings.configure()  # `connect` asks for DEBUG
    rows: list[Row] = []
    for way in ("send", "send_robust"):
        rows += _sending(way, 0, None, "anybody", at_most(1))
        for receivers in (1, 10, 1_000):
            rows += _sending(way, receivers, None, "anybody", at_most(1))
            rows += _sending(way, receivers, _Sender, "this sender", at_most(1))
        rows += _sending(way, 1_000, _Other, "another sender", at_most(1))
    return rows
