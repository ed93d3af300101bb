"""Signals as observables: what can be subscribed to, and the entry of pipelines."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, cast

from reactivex import abc
from reactivex import operators as ops
from reactivex.disposable import Disposable

from rxhub.expression import parse
from rxhub.redaction import redacted
from rxhub.rx.awaitable import Awaitable
from rxhub.rx.subject import Subject
from rxhub.signals.connection import SenderSlot, checked_priority, key_of
from rxhub.signals.emission import Emission, Emitter, sender_name
from rxhub.text.printable import printable

__all__ = ["EmissionSubject", "Emissions", "PipelineEntry", "SenderSubject", "kwargs_of"]

logger = logging.getLogger("rxhub")


class EmissionSubject(Subject[Emission]):
    """A subject of emissions that a source cannot end: completion is ignored, errors are reported."""

    if TYPE_CHECKING:

        @property
        def _signal(self) -> Emitter: ...

    def on_error(self, error: Exception) -> None:
        """Log a source's error and emit it on `errors`; receivers stay connected."""
        logger.error("A source of %r ended with an error. Its receivers stay connected.", self, exc_info=error)
        self._signal.errors.on_next(error)

    def on_completed(self) -> None:
        """Ignore that a source has completed."""

    def __await__(self) -> Generator[Any, None, Emission]:
        """Wait for the next emission, since a signal never completes."""
        return self.pipe(ops.take(1)).__await__()


class SenderSubject(EmissionSubject):
    """The emissions of one sender; `on_next` sends in its name.

    It and the pipelines built on it keep the sender alive; `Signal.on(sender=…)` does not.
    """

    def __init__(self, signal: Any, sender: Any) -> None:
        super().__init__()
        self.signal = signal
        self.sender = sender

    @property
    def _signal(self) -> Emitter:
        return self.signal

    def on_next(self, value: Mapping[str, Any]) -> None:
        """Send a mapping of kwargs in the name of the sender, as `send_robust` does."""
        self._signal.send_robust(self.sender, **kwargs_of(value, self))

    def dispose(self) -> None:
        """Do nothing: observers are subscribed to the signal itself."""

    def _subscribe_core(
        self, observer: abc.ObserverBase[Emission], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        return self._signal.observe(observer, sender=self.sender)

    def __repr__(self) -> str:
        return printable(f"<{self._signal.name} of {sender_name(self.sender)}>")


class Emissions(Awaitable[Emission]):
    """The emissions of a signal that match; each Rx subscription takes a place among the receivers.

    Like a connection, it holds the sender weakly, however long a pipeline on it lives.
    """

    def __init__(self, signal: Emitter, where: str | None, sender: Any, priority: float) -> None:
        super().__init__()
        if where is not None:
            parse(where)
        self._signal = signal
        self._where = where
        self._slot = SenderSlot(key_of(sender), sender)
        self._priority = checked_priority(priority)

    def _subscribe_core(
        self, observer: abc.ObserverBase[Emission], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        sender = self._slot.sender  # held, so that it lives on after the check
        if self._slot.is_orphaned:
            return Disposable()  # the sender has died, and sends nothing any more
        return self._signal.observe(observer, self._where, sender, self._priority)

    __await__ = EmissionSubject.__await__


class PipelineEntry:
    """The receiver at the start of a pipeline: it passes on one emission at a time, as Rx demands, from any thread."""

    def __init__(self, signal: Emitter, observer: abc.ObserverBase[Emission]) -> None:
        self.observer = observer
        self._signal = signal
        self._subject: Subject[Emission] = Subject(serialize=True, on_observer_error=self._report)
        self._subject.subscribe(observer)

    def put(self, emission: Emission) -> None:
        self._subject.on_next(emission)

    def _report(self, error: Exception, _: object) -> None:
        logger.error("A pipeline on %r raised: %s", self._signal, error, exc_info=error)
        self._signal.errors.on_next(error)


def kwargs_of(value: object, subject: EmissionSubject) -> Mapping[str, Any]:
    """The value as kwargs of `send`; TypeError if it is not a mapping of names, or has a key `sender` or `signal`."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in cast("Mapping[Any, Any]", value)):
        named = cast("Mapping[str, Any]", value)
        if taken := {"sender", "signal"} & {*named}:
            raise TypeError(
                f"{subject!r} passes {' and '.join(sorted(taken))} itself. To send in the name of a sender, emit on "
                "signal.of(sender)."
            )
        return named
    found: object = redacted(cast("object", value))
    raise TypeError(f"{subject!r} takes emissions or mappings of names to values, but {found!r} was emitted.")
