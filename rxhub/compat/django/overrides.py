"""Detect overrides of `Signal._live_receivers` without a cost per send.

Tracing tools replace this method of Django's signals to wrap each receiver: sentry-sdk sets it on the class, others
override it in a subclass or set it on an instance. A check at each send would cost as much as calling a receiver, so
this metaclass and `Signal.__setattr__` detect the assignment, and the signal then takes the slow path.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

from rxhub.signals import signal as rxhub_signal
from rxhub.signals.connections import CallOrder
from rxhub.signals.receiver import PLAIN, Receiver, ReceiverSpec

__all__ = ["ASYNC", "LIVE_RECEIVERS", "SignalType", "substitutes"]

ASYNC = ReceiverSpec(is_async=True)

LIVE_RECEIVERS = "_live_receivers"


class _Overridable(Protocol):
    def notice_override(self) -> None: ...


class SignalType(type(rxhub_signal.Signal)):
    """The metaclass of signals, which detects replaced `_live_receivers`."""

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
                    cast("_Overridable", signal).notice_override()


class _Substitute:
    """Replaces a connection in a call order by a callable that an override of `_live_receivers` returned."""

    __slots__ = ("_call", "spec")

    alive = True

    def __init__(self, call: Receiver, spec: ReceiverSpec) -> None:
        self._call = call
        self.spec = spec

    def __call__(self) -> Receiver:
        return self._call


def substitutes(live: tuple[list[Receiver], list[Receiver]]) -> CallOrder:
    """The call order of the callables that an override of `_live_receivers` returned."""
    synchronous, asynchronous = live
    call_order = (
        *[_Substitute(call, PLAIN) for call in synchronous],
        *[_Substitute(call, ASYNC) for call in asynchronous],
    )
    return cast("CallOrder", call_order)
