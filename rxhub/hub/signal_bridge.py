"""`hub.bridge`: publishes the emissions of a signal as events, and sends the events of other hubs as emissions.

A bridge is a pipeline on the signal and a subscriber of the hub. Three marks prevent loops:

- An emission from a bridge has an `origin`. No bridge publishes it, on any topic.
- An event with this hub's own `source.id` is ignored.
- An event names in `source.signal` the signal object that it came from, which ignores it, too. So hubs of a process may
  have bridges on the same signal.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Protocol, cast

from reactivex import abc

from rxhub.dispatching.subscriber import Callback
from rxhub.errors import EventError, ExpressionError, HubClosed, NotFoundError
from rxhub.event import Event
from rxhub.expression import parse
from rxhub.redaction import Secrets, redacted
from rxhub.rx.scope import Scope
from rxhub.signals.emission import Emission, sender_name
from rxhub.signals.signal import Signal
from rxhub.text.jsonable import jsonable
from rxhub.text.printable import printable

__all__ = ["SignalBridge"]

logger = logging.getLogger("rxhub")

_RUN = os.urandom(8).hex()


class BridgedHub(Protocol):
    """What a bridge needs of an `EventHub`."""

    id: str

    def publish(self, event: Event) -> object: ...

    def subscribe(
        self, subscription: str, callback: Callback, subscriber: MutableMapping[str, Any] | None, priority: float, /
    ) -> str: ...

    def unsubscribe(self, subscriber_identifier: str) -> None: ...


class SignalBridge(abc.DisposableBase):
    """Connects a signal and a topic until `dispose()`, or the end of its `with` block; see `EventHub.bridge`.

    Attributes:
        owner: who made it, such as a plugin.
    """

    def __init__(
        self,
        hub: BridgedHub,
        signal: Signal[...],
        topic: str,
        *,
        secrets: Secrets,
        priority: float,
        ended: Callable[[], object],
    ) -> None:
        if not isinstance(signal, Signal):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"A bridge joins an rxhub Signal to a topic, but {type(signal).__name__} was given.")
        subscription = _subscription(topic)
        self.signal = signal
        self.topic = topic
        self._hub = hub
        self._secrets = secrets
        self._when_ended = ended
        self._told: set[type[object]] = set()
        self.owner: Scope | None = None
        self._subscriber = hub.subscribe(
            subscription, self._take, {"id": f"bridge-{signal.name}-{os.urandom(4).hex()}"}, priority
        )
        try:
            self._pipeline = signal.on(priority=priority).subscribe(self._publish)
        except BaseException:
            hub.unsubscribe(self._subscriber)
            raise

    def dispose(self) -> None:
        """End the bridge."""
        if self.owner is not None:
            self.owner.discard(self.dispose)
        self._pipeline.dispose()
        with suppress(NotFoundError):
            self._hub.unsubscribe(self._subscriber)
        self._when_ended()

    def _publish(self, emission: Emission) -> None:
        if emission.origin is not None:
            return
        data: dict[str, Any] = jsonable(redacted({**emission}, self._secrets), self._odd)
        data["sender"] = jsonable(sender_name(emission.sender))
        try:
            self._hub.publish(Event(self.topic, data=data, source={"signal": _mark(self.signal)}))
        except HubClosed:
            pass  # and disposes of this bridge
        except Exception as error:
            # The receivers of this process were called; a publishing error must not reach the sender.
            logger.error("An emission of %s was not published as %s: %s", self.signal.name, self.topic, error)
            self.signal.errors.on_next(error)

    def _take(self, event: Event) -> Coroutine[Any, Any, None] | None:
        source = event.get("source")
        source = cast("Mapping[str, Any]", source if isinstance(source, Mapping) else {})
        origin = source.get("id")
        if origin == self._hub.id or source.get("signal") == _mark(self.signal):
            return None
        named = _named(event, self.signal)
        sender = self._sender(named.pop("sender", None))
        emission = Emission(self.signal, sender, named, origin if isinstance(origin, str) else "")
        return self._relay(emission)

    async def _relay(self, emission: Emission) -> None:
        await self.signal.relay(emission)

    def _sender(self, name: object) -> object:
        """The class, function or module of this name for which receivers are connected, if unique; else the name."""
        if not isinstance(name, str):
            return None
        senders = {id(c.sender): c.sender for c in self.signal.connections if sender_name(c.sender) == name}
        found = [sender for sender in senders.values() if hasattr(sender, "__name__")]
        return found[0] if len(found) == 1 else name

    def _odd(self, value: object) -> None:
        """Warn once for each type that JSON cannot express."""
        kind = type(value)
        if kind not in self._told:
            self._told.add(kind)
            logger.warning(
                "Emissions of %s hold %s.%s, which no event can carry: %s gets its representation instead.",
                self.signal.name,
                kind.__module__,
                kind.__qualname__,
                self.topic,
            )

    def __repr__(self) -> str:
        return printable(f"<bridge between {self.signal.name} and {self.topic}>")


def _mark(signal: Signal[...]) -> str:
    """Identifies a signal object across processes."""
    return f"{_RUN}-{os.getpid()}-{id(signal)}"


def _subscription(topic: str) -> str:
    if not isinstance(topic, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"A topic is a string, but {type(topic).__name__} was given.")
    subscription = f'topic="{topic}"'
    try:
        expression = parse(subscription)
        if topic and expression.matches({"topic": topic}) and not expression.matches({"topic": f"{topic}."}):
            return subscription
    except ExpressionError:
        pass
    raise ValueError(f"A bridge has one topic, such as studio.approved, but {topic!r} was given.")


def _named(event: Event, signal: Signal[...]) -> dict[str, Any]:
    data: Any = event.get("data")
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in cast("Mapping[Any, Any]", data)):
        raise EventError(
            f"Event {event.topic} cannot be sent as an emission of {signal.name}: its data is not an object."
        )
    if "signal" in data:
        raise EventError(f'Event {event.topic} cannot be sent as an emission of {signal.name}: its data has "signal".')
    return {**cast("Mapping[str, Any]", data)}
