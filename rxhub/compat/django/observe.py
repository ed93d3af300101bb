"""Django's own signals as observables."""

from __future__ import annotations

from itertools import count
from threading import Lock
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxhub.compat.django.signal import name_in_module
from rxhub.rx.awaitable import Awaitable
from rxhub.signals.emission import Emission
from rxhub.signals.signal import Signal
from rxhub.text.printable import printable

__all__ = ["observe"]

_numbers = count(1)


def observe(signal: Any, *, sender: Any = None) -> Observable[Emission]:
    """The emissions of one of Django's signals: `observe(post_save).pipe(where("sender=User and created=true"))`.

    The first subscription connects to the signal, the last one disconnects. An observer that raises is logged, and
    breaks neither the save nor other observers.

    Pipelines run in the thread and the transaction of the sender, with one exception: a pipeline handles one emission
    at a time, and waiting for it could deadlock with database locks. An emission that is sent while another thread runs
    the pipeline is delivered by that thread, afterwards and outside the sender's transaction. Use a plain receiver and
    Django's own `connect` for work that must happen inside the transaction.

    `emission.sender` is the sender; `signal.name` is the signal's name in its module.
    """
    if isinstance(signal, Signal):
        return signal.on(sender=sender)
    return _Observed(signal, sender)


class _Observed(Awaitable[Emission]):
    def __init__(self, signal: Any, sender: Any) -> None:
        super().__init__()
        self._signal = signal
        self._sender = sender
        self._relay: Signal[...] = Signal(name_in_module(signal) or type(signal).__qualname__)
        self._uid = f"rxhub.observe {next(_numbers)}"
        self._lock = Lock()
        self._count = 0

    def _subscribe_core(
        self, observer: abc.ObserverBase[Emission], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        subscription = self._relay.subscribe(observer, scheduler=scheduler)
        with self._lock:
            self._count += 1
            if self._count == 1:
                self._signal.connect(self._relayed, sender=self._sender, weak=False, dispatch_uid=self._uid)

        def leave() -> None:
            subscription.dispose()
            with self._lock:
                self._count -= 1
                if self._count == 0:
                    self._signal.disconnect(sender=self._sender, dispatch_uid=self._uid)

        return Disposable(leave)

    def _relayed(self, signal: Any, sender: Any, **named: Any) -> None:
        self._relay.send_robust(sender, **named)

    def __repr__(self) -> str:
        return printable(f"<emissions of Django's {self._relay.name}>")
