"""The emission: one send of a signal, as its receivers and pipelines see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from reactivex import abc

from rxhub.redaction import redacted
from rxhub.rx.subject import Subject
from rxhub.text.names import sender_name
from rxhub.text.printable import printable

__all__ = ["Emission", "Emitter", "sender_name"]


class Emitter(Protocol):
    """A signal, as the parts that it is made of see it."""

    awaits_results: bool

    @property
    def name(self) -> str: ...
    @property
    def errors(self) -> Subject[Exception]: ...
    def send_robust(self, sender: Any = None, **named: Any) -> list[tuple[Any, Any]]: ...
    def report(self, receiver: Any, error: Exception) -> None: ...
    def observe(
        self, observer: abc.ObserverBase[Emission], where: str | None = None, sender: Any = None, priority: float = 100
    ) -> abc.DisposableBase: ...


class Emission(Mapping[str, Any]):
    """One send: a read-only mapping of its kwargs.

    `emission["sender"]` and `emission["signal"]` are the names of both, so that a subscription reads the same in
    `connect(where=…)` and in the operator `where`. They are not counted and not iterated over.

    Attributes:
        signal: the signal that was sent.
        sender: the sender itself.
        origin: the id of the hub that it came from, if a bridge brought it; else None.
    """

    # Two emissions of the same kwargs are not equal.
    __eq__ = object.__eq__
    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType]

    __slots__ = ("__weakref__", "_named", "_stopped", "origin", "sender", "signal")

    def __init__(self, signal: Any, sender: Any, named: Mapping[str, Any], origin: str | None = None) -> None:
        self.signal = signal
        self.sender = sender
        self.origin = origin
        self._named = named
        self._stopped = False

    def stop(self) -> None:
        """Keep later receivers from receiving it; in a pipeline that was busy it may be too late, see `Signal.on`."""
        self._stopped = True

    def is_stopped(self) -> bool:
        """Whether a receiver or a pipeline stopped it."""
        return self._stopped

    def __getitem__(self, key: str) -> Any:
        try:
            return self._named[key]
        except KeyError:
            if key == "sender":
                return sender_name(self.sender)
            if key == "signal":
                return self.signal.name
            raise

    def __contains__(self, key: object) -> bool:
        return key in self._named or key in ("sender", "signal")

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)

    def __repr__(self) -> str:
        sender = sender_name(self.sender)
        by = f" by {sender}" if sender else ""
        return printable(f"<Emission of {self.signal.name}{by}: {redacted(self._named)!r}>")
