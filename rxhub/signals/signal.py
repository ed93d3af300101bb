"""The signal: senders, receivers, and a subject of emissions.

There are two ways to send. The *fast path* is the loop in `fast_send`: it finds a plain call order in `Connections` and
calls the receivers. The *slow path*, `Sending`, is for everything else: receivers with `where=`, coroutine functions,
receivers that want the emission, pipelines, and grouped errors. Both use the call order as it is when they begin: a
receiver that is connected later does not receive the emission, and one that is disconnected is skipped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Hashable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar
from weakref import WeakValueDictionary, ref

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxhub.errors import SubscriptionWarning
from rxhub.expression import compile, parse
from rxhub.expression.near_miss import misspelled_keys
from rxhub.rx.scope import current_scope
from rxhub.rx.scoped_subject import ScopedSubject
from rxhub.rx.subject import Subject
from rxhub.signals.connections import CallOrder, Connection, Connections
from rxhub.signals.emission import Emission
from rxhub.signals.observable import Emissions, EmissionSubject, PipelineEntry, SenderSubject, kwargs_of
from rxhub.signals.receiver import OBSERVER, Receiver, ReceiverSpec, spec_of
from rxhub.signals.send import ErrorPolicy, Responses, Sending, await_result, fast_send, run_result, run_unsuspended
from rxhub.signals.signature import mismatch, payload_class, payload_names
from rxhub.text.caller_warning import warn_caller
from rxhub.text.displayable import Displayable
from rxhub.text.printable import printable

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    P = ParamSpec("P", default=...)
else:
    from typing import ParamSpec

    P = ParamSpec("P")

__all__ = ["Signal", "signals"]

_R = TypeVar("_R", bound=Receiver)

logger = logging.getLogger("rxhub")

_SEND = """Call the receivers of `sender`, in order, and return `[(receiver, what it returned), …]`.

Awaitables that receivers return are awaited on a new event loop.

Raises:
    Exception: what a receiver raises; the later ones are then not called. If `on_receiver_error` is "group", an
        ExceptionGroup of what they raised, when all were called.
    AsyncReceiverError: if a receiver returns an awaitable while an event loop runs in this thread.
"""
_SEND_ROBUST = "Call all receivers of `sender`; what one raises is logged and returned in place of its result."


class Signal(EmissionSubject, Displayable, Generic[P]):
    """Sends to its receivers, in order of priority; a `Subject[Emission]` to Rx.

    `connect`, `disconnect` and `send` have the same meaning as in Django. As an observable it emits an `Emission` for
    each send; a pipeline has a place among the receivers.

    Args:
        name: for `repr` and for `signal=` in subscriptions. Default: generated.
        payload: the keyword arguments of `send`, as a dataclass or a function with these parameters, for type checkers
            and `inspect.signature(signal.send)`. It is not called.
        on_receiver_error: "raise", as in Django, raises the first exception of a receiver and calls no later one;
            "group" calls every receiver, then raises an ExceptionGroup.
        check_receivers: raise TypeError when a receiver is connected that cannot be called with the payload: it takes
            neither one of the names nor `**kwargs`, or requires another name.

    Attributes:
        number: the number of the signal in this process, by time of creation.
    """

    awaits_results = True
    """Whether the results of receivers are awaited that are not declared as coroutine functions."""

    # Made on first access.
    _errors: Subject[Exception] | None = None
    _connected: Signal[...] | None = None
    _disconnected: Signal[...] | None = None

    def __init__(
        self,
        name: str | None = None,
        payload: Callable[P, object] | None = None,
        *,
        on_receiver_error: Literal["raise", "group"] = "raise",
        check_receivers: bool = False,
    ) -> None:
        if on_receiver_error not in ("raise", "group"):
            raise ValueError(
                f'on_receiver_error={on_receiver_error!r} is not valid: use "raise" (the first exception is raised) or '
                '"group" (every receiver runs, then an ExceptionGroup is raised).'
            )
        super().__init__()
        self.number = next(_numbers)
        self.name = f"signal {self.number}" if name is None else name
        self._named = name is not None
        self.payload = payload
        self._on_receiver_error: ErrorPolicy = on_receiver_error
        self._connections = Connections(always_slow=on_receiver_error == "group")
        self._check_receivers = check_receivers
        if payload is not None:
            self.__class__ = payload_class(type(self), payload)
        _living[self.number] = self

    @property
    def _signal(self) -> Signal[...]:
        # Not an attribute: a reference cycle would keep the signal until garbage is collected.
        return self

    def __set_name__(self, owner: type, name: str) -> None:
        if not self._named:
            self.name = f"{owner.__qualname__}.{name}"
            self._named = True

    # Connecting

    def connect(
        self,
        receiver: _R,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Hashable = None,
        *,
        where: str | None = None,
        priority: float = 100,
    ) -> _R:
        """Call `receiver` with `signal=`, `sender=` and the kwargs of each emission.

        Args:
            receiver: a plain or a coroutine function, or a method. A parameter `emission` receives the `Emission`, and
                may stop it.
            sender: receive only what this sender sends; None for every sender. It is held weakly. Strings, bytes and
                integers are compared by equality, other senders by identity.
            weak: hold the receiver weakly; bound methods live as long as their object.
            dispatch_uid: identifies the receiver, if each import makes a new one.
            where: a subscription over the kwargs, and over `sender` and `signal`, which are compared by name: a
                class's qualified name, for an instance that of its class.
            priority: lower runs first; equal priorities run in order of connecting.

        Returns:
            The receiver, so that `connect` can be used as a decorator. Connecting a receiver (or a `dispatch_uid`)
            twice for the same sender changes nothing, also with another `where` or `priority`.

        Raises:
            ExpressionError: if `where` does not parse.
            TypeError: if the receiver cannot be called, or takes neither `**kwargs` nor `signal` and `sender`.
        """
        spec = spec_of(receiver)
        if self._check_receivers and self.payload is not None and (why := mismatch(receiver, self.payload)):
            raise TypeError(f"{receiver!r} cannot receive what {self!r} sends: {why}.")
        connections = self._connections
        if where is None and type(priority) is int and connections.notifications is None and current_scope() is None:
            # The same as below, in a third of the time.
            connections.join(receiver, sender, weak, dispatch_uid, priority, spec)
        else:
            connections.connect(receiver, sender, weak, dispatch_uid, priority, self._filtered(spec, where))
        return receiver

    def disconnect(self, receiver: Receiver | None = None, sender: Any = None, dispatch_uid: Hashable = None) -> bool:
        """Undo `connect` with the same arguments, also for an emission under way; whether it was connected."""
        return self._connections.disconnect(receiver, sender, dispatch_uid)

    @contextmanager
    def connected_to(
        self, receiver: Receiver, sender: Any = None, *, where: str | None = None, priority: float = 100
    ) -> Generator[Signal[P]]:
        """Connect `receiver`, strongly, during a `with` block, unless it is connected already."""
        spec = self._filtered(spec_of(receiver), where)
        connection = self._connections.connect(receiver, sender, False, None, priority, spec)
        try:
            yield self
        finally:
            if connection is not None:
                self._connections.remove(connection)

    @contextmanager
    def muted(self) -> Generator[None]:
        """Call no receiver during a `with` block; sending returns an empty list."""
        self._connections.mute(1)
        try:
            yield
        finally:
            self._connections.mute(-1)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The connections in order, those of pipelines included."""
        return tuple(connection for connection in self._connections.all() if connection() is not None)

    def has_listeners(self, sender: Any = None) -> bool:
        """Whether a receiver is connected for what `sender` sends; muting and `where=` are not considered."""
        return any(c.alive and c() is not None for c in self._connections.call_order(sender))

    @property
    def connected(self) -> Signal[...]:
        """Sent by this signal with `connection=` after a receiver was connected.

        `connected` and `disconnected` are sent in the order of what happened, by one thread at a time. Other threads
        do not wait: if several connect at the same time, one of them may send for the others.
        """
        return self._connected or self._watched("_connected")

    @property
    def disconnected(self) -> Signal[...]:
        """Sent by this signal with `connection=` after a receiver was disconnected, not if it has died."""
        return self._disconnected or self._watched("_disconnected")

    def _watched(self, attribute: str) -> Signal[...]:
        signal = vars(self).setdefault(attribute, Signal(f"{self.name}.{attribute[1:]}"))
        self._connections.watch(_notifier(self, "_connected"), _notifier(self, "_disconnected"))
        return signal

    # Sending

    if TYPE_CHECKING:

        def send(self, sender: Any = None, *payload: P.args, **named: P.kwargs) -> Responses: ...
        def send_robust(self, sender: Any = None, *payload: P.args, **named: P.kwargs) -> Responses: ...
        async def asend(self, sender: Any = None, *payload: P.args, **named: P.kwargs) -> Responses: ...
        async def asend_robust(self, sender: Any = None, *payload: P.args, **named: P.kwargs) -> Responses: ...

    else:
        send = fast_send("send", False, _SEND)
        send_robust = fast_send("send_robust", True, _SEND_ROBUST)

        async def asend(self, /, sender=None, **named):
            """As `send`, but await what each receiver returns before the next is called."""
            return await self._asend(sender, named, self._on_receiver_error)

        async def asend_robust(self, /, sender=None, **named):
            """As `send_robust`, but await what each receiver returns before the next is called."""
            return await self._asend(sender, named, "collect")

    def _send(self, sender: Any, named: dict[str, Any], policy: ErrorPolicy, origin: str | None = None) -> Responses:
        call_order = self._call_order(sender, named)
        if not call_order:
            return []
        return run_unsuspended(Sending(self, sender, named, origin).deliver(call_order, policy, run_result))

    async def _asend(
        self, sender: Any, named: dict[str, Any], policy: ErrorPolicy, origin: str | None = None
    ) -> Responses:
        call_order = self._call_order(sender, named)
        if not call_order:
            return []
        return await Sending(self, sender, named, origin).deliver(call_order, policy, await_result)

    async def relay(self, emission: Emission) -> Responses:
        """Send an emission of another process, as `asend_robust` does; it keeps its `origin`."""
        return await self._asend(emission.sender, {**emission}, "collect", emission.origin)

    def _call_order(self, sender: Any, named: dict[str, Any]) -> CallOrder:
        call_order = () if self._connections.muted else self._connections.call_order(sender)
        if call_order and "signal" in named:
            raise self._reserved()
        return call_order

    def _reserved(self) -> TypeError:
        return TypeError(f"{self!r} passes itself as signal=, so nothing else can be sent under that name.")

    def report(self, receiver: Receiver, error: Exception) -> None:
        """Log what a receiver raised, and emit it on `errors`."""
        logger.error("Receiver %r of %r raised, the others go on: %s", receiver, self, error, exc_info=error)
        if self._errors is not None:
            self._errors.on_next(error)

    # As an observable

    @property
    def errors(self) -> Subject[Exception]:
        """Errors of receivers in `send_robust` and `asend_robust`, of pipelines, and of sources."""
        return self._errors or vars(self).setdefault("_errors", ScopedSubject[Exception]())

    def of(self, sender: Any) -> SenderSubject:
        """The emissions of one sender, as a subject that sends in its name."""
        return SenderSubject(self, sender)

    def on(self, where: str | None = None, *, sender: Any = None, priority: float = 100) -> Observable[Emission]:
        """The emissions that match, for a pipeline with a place among the receivers.

        A pipeline receives one emission at a time, and senders do not wait for it. What is sent while it is busy in
        another thread, and what is sent within an emission of this signal, reaches it later, when the later receivers
        were called and `stop()` has no effect any more. To veto emissions, connect a receiver.

        The arguments are those of `connect`; each Rx subscription has a place of this priority among the receivers.
        """
        return Emissions(self, where, sender, priority)

    def on_next(self, value: Mapping[str, Any]) -> None:
        """Send an emission, or any mapping of kwargs, as `send_robust` does."""
        sender, origin = (value.sender, value.origin) if isinstance(value, Emission) else (None, None)
        self._send(sender, {**kwargs_of(value, self)}, "collect", origin)

    def dispose(self) -> None:
        """Disconnect all receivers. Receivers can be connected again."""
        for connection in self.connections:
            self._connections.remove(connection)

    @property
    def observers(self) -> list[abc.ObserverBase[Emission]]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The subscribed observers in order, as a new list."""
        puts: list[Any] = [connection() for connection in self._connections.all() if connection.spec.is_observer]
        return [put.__self__.observer for put in puts]

    def _subscribe_core(
        self, observer: abc.ObserverBase[Emission], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        return self.observe(observer)

    def observe(
        self, observer: abc.ObserverBase[Emission], where: str | None = None, sender: Any = None, priority: float = 100
    ) -> abc.DisposableBase:
        entry, spec = PipelineEntry(self, observer).put, self._filtered(OBSERVER, where)
        connection = self._connections.connect(entry, sender, False, None, priority, spec)
        assert connection is not None, "a method of a new object cannot be connected already"

        def leave() -> None:
            self._connections.remove(connection)

        return Disposable(leave)

    # Housekeeping

    def _filtered(self, spec: ReceiverSpec, where: str | None) -> ReceiverSpec:
        """The spec with a subscription; warns of keys that the payload does not have."""
        if where is None:
            return spec
        if self.payload is not None and (names := payload_names(self.payload)) is not None:
            for key, meant in misspelled_keys(parse(where), [*names, "sender", "signal"]):
                warn_caller(
                    f"{self!r} sends no {key!r}, which where={where!r} asks for: did you mean {meant!r}?",
                    SubscriptionWarning,
                )
        return replace(spec, where=where, matches=compile(where))

    def __copy__(self, memo: object = None) -> Signal[P]:
        return self  # receivers are connected to it

    __deepcopy__ = __copy__

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError(f"{self!r} cannot be pickled: import the same signal where it is needed.")

    def __repr__(self) -> str:
        count = len(self._connections.all())
        died = 0 if count else self._connections.died
        why = f"; {died} died, held weakly: weak=False keeps one alive" if died else ""
        return printable(f"<Signal {self.name}, {count} connection{'' if count == 1 else 's'}{why}>")


def _notifier(signal: Signal[...], attribute: str) -> Callable[[Connection], object]:
    """Sends `connected` or `disconnected` of a signal, which its connections must not keep alive."""
    reference = ref(signal)

    def notify(connection: Connection) -> None:
        if (signal := reference()) is not None and (watched := getattr(signal, attribute)) is not None:
            watched.send_robust(signal, connection=connection)

    return notify


def signals() -> list[Signal[...]]:
    """All signals of the process, in order of creation."""
    living = [reference() for reference in _living.valuerefs()]
    return sorted([signal for signal in living if signal is not None], key=lambda signal: signal.number)


_numbers = count(1)
_living: WeakValueDictionary[int, Signal[...]] = WeakValueDictionary()
