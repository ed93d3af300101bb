"""The face that a signal shows to Rx: what is subscribed to, and where its pipelines begin."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, cast

from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable

from rxhub.expression import parse
from rxhub.redaction import redacted
from rxhub.rx.awaitable import Awaitable
from rxhub.rx.subject import Subject
from rxhub.signals.connections import SenderSlot, checked_priority, key_of
from rxhub.signals.emission import Emission, sender_name
from rxhub.text.printable import printable

if TYPE_CHECKING:
    from rxhub.signals.signal import Signal

__all__ = ["EmissionSubject", "Emissions", "PipelineEntry", "SenderSubject", "kwargs_of"]

logger = logging.getLogger("rxhub")


class EmissionSubject(Subject[Emission]):
    """A subject of emissions that no source can end: it ignores completions and reports errors."""

    if TYPE_CHECKING:  # a signal is its own

        @property
        def _signal(self) -> Signal[...]: ...

    def on_error(self, error: Exception) -> None:
        """Log and report a source's error; the receivers stay."""
        logger.error("A source of %r ended with an error; the receivers stay.", self, exc_info=error)
        self._signal.errors.on_next(error)

    def on_completed(self) -> None:
        """Ignore that a source has ended; others may go on."""

    def __await__(self) -> Generator[Any, None, Emission]:
        """Wait for the next emission: a relay has no last one."""
        return _Next(self).__await__()


class SenderSubject(EmissionSubject):
    """The emissions of one sender; `on_next` sends in its name.

    It keeps the sender alive, and so does a pipeline that is built on it; `Signal.on(sender=…)` does not.

    Attributes:
        signal: the signal whose emissions they are.
        sender: who sends.
    """

    def __init__(self, signal: Signal[...], sender: Any) -> None:
        super().__init__()
        self.signal = signal
        self.sender = sender

    @property
    def _signal(self) -> Signal[...]:
        return self.signal

    def on_next(self, value: Mapping[str, Any]) -> None:
        """Send a mapping of kwargs in the name of the sender, as `send_robust` does.

        Raises:
            TypeError: if the value is no mapping with names as its keys.
        """
        self.signal.send_robust(self.sender, **kwargs_of(value, self))

    def dispose(self) -> None:
        """Do nothing: who subscribed to it is subscribed to the signal, and leaves by his own subscription."""

    def _subscribe_core(
        self, observer: abc.ObserverBase[Emission], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        return self.signal.observe(observer, sender=self.sender)

    def __repr__(self) -> str:
        return printable(f"<{self.signal.name} of {sender_name(self.sender)}>")


class Emissions(Awaitable[Emission]):
    """The emissions of a signal that match; each Rx subscription takes a place among the receivers.

    It keeps its sender no more alive than a connection does, however long a pipeline on it lives.
    """

    def __init__(self, signal: Signal[...], where: str | None, sender: Any, priority: float) -> None:
        super().__init__()
        if where is not None:
            parse(where)
        self._signal = signal
        self._where = where
        self._seat = SenderSlot(key_of(sender), sender)
        self._everybody = sender is None
        self._priority = checked_priority(priority)

    def _subscribe_core(
        self, observer: abc.ObserverBase[Emission], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        sender = self._seat.sender
        if sender is None and not self._everybody:
            return Disposable()  # the sender has died, and sends nothing any more
        return self._signal.observe(observer, self._where, sender, self._priority)

    def __await__(self) -> Generator[Any, None, Emission]:
        return _Next(self).__await__()


class _Next(Awaitable[Emission]):
    """Completes with the first emission, so that it can be awaited."""

    def __init__(self, source: Observable[Emission]) -> None:
        super().__init__()
        self._source = source

    def _subscribe_core(
        self, observer: abc.ObserverBase[Emission], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        return self._source.pipe(ops.take(1)).subscribe(observer, scheduler=scheduler)


class PipelineEntry:
    """Where a pipeline begins: it lets in one emission at a time, as Rx demands, from whichever thread."""

    def __init__(self, signal: Signal[...], observer: abc.ObserverBase[Emission]) -> None:
        self.observer = observer
        self._signal = signal
        self._door: Subject[Emission] = Subject(serialize=True, on_observer_error=self._failed)
        self._door.subscribe(observer)

    def put(self, emission: Emission) -> None:
        self._door.on_next(emission)

    def _failed(self, error: Exception, _: object) -> None:
        logger.error("A pipeline on %r raised: %s", self._signal, error, exc_info=error)
        self._signal.errors.on_next(error)


def kwargs_of(value: object, relay: EmissionSubject) -> Mapping[str, Any]:
    """The kwargs that a value stands for.

    Raises:
        TypeError: if it is no mapping with names as its keys, or `sender` or `signal` is one of them.
    """
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in cast("Mapping[Any, Any]", value)):
        named = cast("Mapping[str, Any]", value)
        if taken := {"sender", "signal"} & {*named}:
            raise TypeError(
                f"{relay!r} passes {' and '.join(sorted(taken))} itself. To send in somebody's name, emit on "
                "signal.of(sender)."
            )
        return named
    found: object = redacted(cast("object", value))
    raise TypeError(f"{relay!r} takes emissions or mappings of names to values, but {found!r} was emitted.")
