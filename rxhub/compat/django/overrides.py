"""Detect overrides of `Signal._live_receivers` without a cost per send.

Tracing tools replace this method to wrap each receiver: sentry-sdk on the class, others in a subclass or on an
instance. This metaclass and `Signal.__setattr__` detect it, and the signal then takes the slow path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from rxhub.signals import signal as rxhub_signal
from rxhub.signals.connections import CallOrder
from rxhub.signals.receiver import PLAIN, Receiver, ReceiverSpec

__all__ = ["ASYNC", "LIVE_RECEIVERS", "SignalType", "substitutes"]

ASYNC = ReceiverSpec(is_async=True)

LIVE_RECEIVERS = "_live_receivers"


class SignalType(type(rxhub_signal.Signal)):
    """The metaclass of signals."""

    def __setattr__(cls, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        cls._check_override(name)

    def __delattr__(cls, name: str) -> None:
        super().__delattr__(name)
        cls._check_override(name)

    def _check_override(cls, name: str) -> None:
        if name == LIVE_RECEIVERS:
            for signal in rxhub_signal.signals():
                if isinstance(signal, cls):
                    cast("Any", signal).notice_override()


@dataclass(frozen=True, slots=True)
class _Substitute:
    """Replaces a connection in a call order by a callable that an override of `_live_receivers` returned."""

    call: Receiver
    spec: ReceiverSpec
    alive = True

    def __call__(self) -> Receiver:
        return self.call


def substitutes(live: tuple[list[Receiver], list[Receiver]]) -> CallOrder:
    """The call order of the callables that an override of `_live_receivers` returned."""
    call_order = (_Substitute(call, spec) for calls, spec in zip(live, (PLAIN, ASYNC), strict=True) for call in calls)
    return cast("CallOrder", (*call_order,))
