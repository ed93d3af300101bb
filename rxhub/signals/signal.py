"""The signal: a subject carrying a sender.

Theory of operation. There are two ways to send. The *quick way* is the loop in `send` and in `send_robust`: it finds a
call_order of plain receivers in `Connections` and calls them; asking a method for the call_order would cost as much as
a receiver does. The *careful way*, `Sending`, is for everything else: receivers with `where=`, coroutine functions,
receivers that ask for the emission, pipelines, and the policy that groups errors. Either takes the call_order as it is
when it begins: who connects meanwhile does not get the emission, who leaves gets it no more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast
from weakref import WeakValueDictionary, ref

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxhub.concurrency.awaitables import needs_await
from rxhub.errors import SubscriptionWarning
from rxhub.expression import compile, parse
from rxhub.expression.near_miss import closest_name, misspelled_keys
from rxhub.rx.scope import current_scope
from rxhub.rx.scoped_subject import ScopedSubject
from rxhub.rx.subject import Subject
from rxhub.signals.connections import CallOrder, Connection, Connections, checked_priority
from rxhub.signals.emission import Emission
from rxhub.signals.observable import Emissions, EmissionSubject, PipelineEntry, SenderSubject, kwargs_of
from rxhub.signals.receiver import OBSERVER, Receiver, ReceiverSpec, spec_of
from rxhub.signals.send import ErrorPolicy, Responses, Sending, await_result, run_result, run_to_end
from rxhub.signals.signature import mismatch, payload_names, with_payload
from rxhub.text.caller_warning import warn_caller
from rxhub.text.displayable import Displayable
from rxhub.text.printable import printable

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    P = ParamSpec("P", default=...)
else:
    from typing import ParamSpec

    P = ParamSpec("P")

__all__ = ["Signal", "receiver", "signals"]

_R = TypeVar("_R", bound=Receiver)
_T = TypeVar("_T")

logger = logging.getLogger("rxhub")


class Signal(EmissionSubject, Displayable, Generic[P]):
    """Sends to its receivers, in order of priority; a `Subject[Emission]` to Rx.

    `connect`, `disconnect`, `send` and their kin have the meaning that Django gave them. As an observable it emits an
    `Emission` each time somebody sends; a pipeline takes part in the order as a receiver does.

    Args:
        name: for people, and for `signal=` in subscriptions; made up if it is not given.
        payload: what is sent with it, as a dataclass or any function with the keyword arguments, for type
            checkers and for `inspect.signature(signal.send)`. It is not called.
        on_receiver_error: "raise", as in Django, lets the first exception of a receiver stop the later ones and reach
            the sender; "group" runs every receiver, then raises one ExceptionGroup.
        check_receivers: raise TypeError when a receiver is connected that cannot be called with the payload: it takes
            neither a name in it nor `**kwargs`, or requires a name that is not in it.

    Attributes:
        name: for people.
        number: how many signals of the process were made before.
        payload: as given.

    Raises:
        ValueError: if `on_receiver_error` is neither.
    """

    awaits_results = True
    """Whether awaitables that receivers return are awaited, also of receivers that are no coroutine functions."""

    # Made when first asked for.
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
                f'on_receiver_error={on_receiver_error!r} is no policy: use "raise" (the first exception reaches the '
                'sender) or "group" (everybody runs, then one ExceptionGroup).'
            )
        super().__init__()
        number = self.number = next(_numbers)
        self.name = name if name is not None else f"signal {number}"
        self._named = name is not None
        self.payload = payload
        self._on_receiver_error: ErrorPolicy = on_receiver_error
        self._connections = Connections(careful=on_receiver_error == "group")
        self._muted = 0
        self._check_receivers = check_receivers
        if payload is not None:
            # A class of its own: methods on the signal itself would refer to it, and only the collector could free it.
            kind = type(self)
            ways = {
                way: with_payload(getattr(kind, way), payload)
                for way in ("send", "send_robust", "asend", "asend_robust")
            }
            names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
            self.__class__ = type(kind)(kind.__name__, (kind,), {**names, **ways})
        _living[number] = self

    @property
    def _signal(self) -> Signal[...]:
        # No attribute, for it would keep the signal until the collector comes.
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
        """Let `receiver` be called with `signal=`, `sender=` and the kwargs of each emission.

        Args:
            receiver: a plain or a coroutine function, or a method. One that has a parameter `emission` gets the
                `Emission` there, and may stop it.
            sender: whose emissions it gets; None for everybody's. It is held weakly. Senders that are exactly `str`,
                `bytes` or `int` are compared by equality, everything else by identity.
            weak: let the receiver die when nobody else holds it; bound methods live as long as their object.
            dispatch_uid: what to know the receiver by, if it may be made anew by each import.
            where: a subscription over the kwargs, and over `sender` and `signal`, which stand for their names: a
                class's qualified name, for an instance that of its class.
            priority: lower runs first; equal ones run in order of connecting.

        Returns:
            The receiver, so that `connect` serves as a decorator. Connecting a receiver (or a `dispatch_uid`) twice
            for the same sender changes nothing, also with another `where` or `priority`.

        Raises:
            ExpressionError: if `where` does not parse.
            TypeError: if the receiver cannot be called, or takes neither `**kwargs` nor `signal` and `sender`.
        """
        spec = spec_of(receiver)
        if self._check_receivers and self.payload is not None and (why := mismatch(receiver, self.payload)):
            raise TypeError(f"{receiver!r} cannot receive what {self!r} sends: {why}.")
        if where is None and type(priority) is int and self._connections.told is None and current_scope() is None:
            # The same as below, with a third of the steps.
            self._connections.join(receiver, sender, weak, dispatch_uid, priority, spec)
        else:
            self._connect(receiver, sender, weak, dispatch_uid, priority, where, spec)
        return receiver

    def disconnect(self, receiver: Receiver | None = None, sender: Any = None, dispatch_uid: Hashable = None) -> bool:
        """Undo `connect` with the same arguments; an emission that is under way does not reach the receiver either.

        Returns:
            Whether it was connected.
        """
        connection = self._connections.leave(receiver, sender, dispatch_uid)
        if connection is None:
            return False
        if self._connections.told is not None or connection.spec.owner is not None:
            self._left(connection)
        return True

    @contextmanager
    def connected_to(
        self,
        receiver: Receiver,
        sender: Any = None,
        *,
        where: str | None = None,
        priority: float = 100,
    ) -> Generator[Signal[P]]:
        """Connect `receiver`, strongly, for the time of a `with` block; unless it is connected already."""
        connection = self._connect(receiver, sender, False, None, priority, where, spec_of(receiver))
        try:
            yield self
        finally:
            if connection is not None:
                self._remove(connection)

    @contextmanager
    def muted(self) -> Generator[None]:
        """Let nobody be called for the time of a `with` block; sending then returns an empty list."""
        self._mute(1)
        try:
            yield
        finally:
            self._mute(-1)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Who is connected, pipelines included, in order."""
        return tuple(connection for connection in self._connections.all() if connection() is not None)

    def has_listeners(self, sender: Any = None) -> bool:
        """Whether anybody is connected for what `sender` sends; muting and `where=` aside."""
        return any(c.alive and c() is not None for c in self._connections.call_order(sender))

    @property
    def connected(self) -> Signal[...]:
        """Sent by this signal with `connection=` after a receiver was connected.

        `connected` and `disconnected` are sent in the order of what happened, by one thread at a time. No other thread
        waits for that: if several connect at the same time, one of them may send for the others.
        """
        return self._connected or self._watched("_connected", "connected")

    @property
    def disconnected(self) -> Signal[...]:
        """Sent by this signal with `connection=` after a receiver was disconnected, not if it has died."""
        return self._disconnected or self._watched("_disconnected", "disconnected")

    def _watched(self, attribute: str, name: str) -> Signal[...]:
        """A signal that is sent when somebody connects or disconnects; from now on both are noted."""
        signal = self._made(attribute, Signal(f"{self.name}.{name}"))
        me = ref(self)  # the places must not keep the signal

        def joined(connection: Connection) -> None:
            if (watched := me()) is not None and watched._connected is not None:
                watched._connected.send_robust(watched, connection=connection)

        def left(connection: Connection) -> None:
            if (watched := me()) is not None and watched._disconnected is not None:
                watched._disconnected.send_robust(watched, connection=connection)

        self._connections.watch(joined, left)
        return signal

    def _made(self, name: str, what: _T) -> _T:
        """The same, or what another thread has put there first."""
        return vars(self).setdefault(name, what)

    # Sending

    if TYPE_CHECKING:

        def send(self, sender: Any = None, *payload: P.args, **named: P.kwargs) -> Responses: ...
        def send_robust(self, sender: Any = None, *payload: P.args, **named: P.kwargs) -> Responses: ...
        async def asend(self, sender: Any = None, *payload: P.args, **named: P.kwargs) -> Responses: ...
        async def asend_robust(self, sender: Any = None, *payload: P.args, **named: P.kwargs) -> Responses: ...

    else:

        def send(self, /, sender=None, **named):
            """Call the receivers of `sender`, in order.

            Awaitables that receivers return are awaited on an event loop of their own.

            Returns:
                `[(receiver, what it returned), …]`.

            Raises:
                Exception: what a receiver raises; the later ones are then not called. If `on_receiver_error` is
                    "group", an ExceptionGroup of what they raised, when all were called.
                AsyncReceiverError: if a receiver returns an awaitable while an event loop runs in this thread.
            """
            connections = self._connections
            if not connections.slots:
                return []
            if connections.dead:
                connections.purge_dead()
            key = id(sender)
            call_order = connections.call_orders.get(key) if key in connections.slots else connections.rest
            if call_order is None and (call_order := connections.plain(sender)) is None:
                return self._send(sender, named, self._on_receiver_error)
            if not call_order:
                return []
            if "signal" in named:
                raise self._reserved()
            named["signal"] = self
            named["sender"] = sender
            responses = []
            for connection in call_order:
                if connection.alive and (call := connection()) is not None:
                    value = call(**named)
                    if value is not None and needs_await(value) and self.awaits_results:
                        value = run_to_end(self, call, value)
                    responses.append((call, value))
            return responses

        def send_robust(self, /, sender=None, **named):
            """Call the receivers of `sender`, all of them; what one raises is logged and stands in place of its result.

            Returns:
                `[(receiver, what it returned or raised), …]`.
            """
            connections = self._connections
            if not connections.slots:
                return []
            if connections.dead:
                connections.purge_dead()
            key = id(sender)
            call_order = connections.call_orders.get(key) if key in connections.slots else connections.rest
            if call_order is None and (call_order := connections.plain(sender)) is None:
                return self._send(sender, named, "collect")
            if not call_order:
                return []
            if "signal" in named:
                raise self._reserved()
            named["signal"] = self
            named["sender"] = sender
            responses = []
            for connection in call_order:
                if connection.alive and (call := connection()) is not None:
                    try:
                        value = call(**named)
                        if value is not None and needs_await(value) and self.awaits_results:
                            value = run_to_end(self, call, value)
                        responses.append((call, value))
                    except Exception as error:
                        self.failed(call, error)
                        responses.append((call, error))
            return responses

        async def asend(self, /, sender=None, **named):
            """Call the receivers of `sender` as `send` does, and await in its place what a receiver returns."""
            return await self._asend(sender, named, self._on_receiver_error)

        async def asend_robust(self, /, sender=None, **named):
            """Call the receivers of `sender` as `send_robust` does, and await in its place what a receiver returns."""
            return await self._asend(sender, named, "collect")

    def _send(self, sender: Any, named: dict[str, Any], policy: ErrorPolicy, origin: str | None = None) -> Responses:
        call_order = self._call_order(sender, named)
        if not call_order:
            return []
        steps = Sending(self, sender, named, origin).deliver(call_order, policy, run_result)
        try:
            steps.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("a sending that does not await was suspended")

    async def _asend(
        self, sender: Any, named: dict[str, Any], policy: ErrorPolicy, origin: str | None = None
    ) -> Responses:
        call_order = self._call_order(sender, named)
        return (
            await Sending(self, sender, named, origin).deliver(call_order, policy, await_result) if call_order else []
        )

    async def relay(self, emission: Emission) -> Responses:
        """Send an emission that was made elsewhere, as `asend_robust` does; it keeps its `origin`."""
        return await self._asend(emission.sender, {**emission}, "collect", emission.origin)

    def _call_order(self, sender: Any, named: dict[str, Any]) -> CallOrder:
        call_order = () if self._muted else self._connections.call_order(sender)
        if call_order and "signal" in named:
            raise self._reserved()
        return call_order

    def _reserved(self) -> TypeError:
        return TypeError(f"{self!r} passes itself as signal=, so nothing else can be sent under that name.")

    def failed(self, call: Receiver, error: Exception) -> None:
        """Log and report what a receiver raised."""
        logger.error("Receiver %r of %r raised, the others go on: %s", call, self, error, exc_info=error)
        if self._errors is not None:
            self._errors.on_next(error)

    # The reactive face

    @property
    def errors(self) -> Subject[Exception]:
        """What receivers raised in `send_robust` and `asend_robust`, what pipelines raised, what sources ended with."""
        return self._errors or self._made("_errors", ScopedSubject[Exception]())

    def of(self, sender: Any) -> SenderSubject:
        """The emissions of one sender, as a subject that carries it."""
        return SenderSubject(self, sender)

    def on(self, where: str | None = None, *, sender: Any = None, priority: float = 100) -> Observable[Emission]:
        """The emissions that match, for a pipeline with its place in the order.

        A pipeline is told one thing at a time, and nobody waits for it. So what is sent while it is busy in another
        thread, and what is sent within an emission of this signal, it is told afterwards, when the later receivers have
        been called and `stop()` has no effect any more. A guard that must not be passed is a receiver, by `connect`.

        Args:
            where: a subscription, as in `connect`.
            sender: whose emissions; None for everybody's.
            priority: where each Rx subscription to it stands among the receivers.

        Raises:
            ExpressionError: if `where` does not parse.
        """
        return Emissions(self, where, sender, priority)

    def on_next(self, value: Mapping[str, Any]) -> None:
        """Send an emission, or any mapping of kwargs, to all receivers, as `send_robust` does.

        Raises:
            TypeError: if the value is no mapping with names as its keys.
        """
        sender, origin = (value.sender, value.origin) if isinstance(value, Emission) else (None, None)
        self._send(sender, {**kwargs_of(value, self)}, "collect", origin)

    def dispose(self) -> None:
        """Disconnect everybody. A signal has no end: it can be connected to again."""
        for connection in self.connections:
            self._remove(connection)

    @property
    def observers(self) -> list[abc.ObserverBase[Emission]]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Who is subscribed as an observer, in order: a new list."""
        return [entrance.observer for entrance in self._entrances()]

    def _entrances(self) -> list[PipelineEntry]:
        puts = [connection() for connection in self._connections.all() if connection.spec.is_observer]
        return [cast("PipelineEntry", cast("MethodType", put).__self__) for put in puts if put is not None]

    def _subscribe_core(
        self, observer: abc.ObserverBase[Emission], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        return self.observe(observer)

    def observe(
        self,
        observer: abc.ObserverBase[Emission],
        where: str | None = None,
        sender: Any = None,
        priority: float = 100,
    ) -> abc.DisposableBase:
        """Give an observer its place among the receivers; `on(…).subscribe` is what pipelines are made with."""
        connection = self._connect(PipelineEntry(self, observer).put, sender, False, None, priority, where, OBSERVER)
        assert connection is not None, "a method of a new object cannot be connected already"
        return Disposable(lambda: self._remove(connection))

    # Housekeeping

    def _connect(
        self,
        receiver: Receiver,
        sender: Any,
        weak: bool,
        dispatch_uid: Hashable,
        priority: float,
        where: str | None,
        spec: ReceiverSpec,
    ) -> Connection | None:
        priority = checked_priority(priority)
        if where is not None or current_scope() is not None:
            connection = self._connect_on_terms(receiver, sender, weak, dispatch_uid, priority, where, spec)
        else:
            connection = self._connections.join(receiver, sender, weak, dispatch_uid, priority, spec)
        if self._connections.told is not None:
            self._connections.told.run()
        return connection

    def _connect_on_terms(
        self,
        receiver: Receiver,
        sender: Any,
        weak: bool,
        dispatch_uid: Hashable,
        priority: float,
        where: str | None,
        spec: ReceiverSpec,
    ) -> Connection | None:
        """Connect with a subscription, or in the name of a plugin, which holds strongly and can undo it."""
        made: list[Connection] = []

        def leave() -> None:
            for connection in made:
                self._remove(connection)

        owner = current_scope()
        matches = None if where is None else compile(where)
        if where is not None:
            self._warn_of_misspelled(where)
        spec = replace(spec, where=where, matches=matches, owner=owner, leave=owner and leave)
        connection = self._connections.join(receiver, sender, weak and owner is None, dispatch_uid, priority, spec)
        if connection is not None and owner is not None:
            made.append(connection)
            owner.add(leave)
            if not connection.alive:  # another thread has disconnected it before it was kept
                owner.discard(leave)
        return connection

    def _warn_of_misspelled(self, where: str) -> None:
        """Warn if a key is similar to a name in the payload; where the payload is known, and has no `**kwargs`."""
        if self.payload is None or (names := payload_names(self.payload)) is None:
            return
        for key, meant in misspelled_keys(parse(where), [*names, "sender", "signal"]):
            warn_caller(
                f"{self!r} sends no {key!r}, which where={where!r} asks for: did you mean {meant!r}?",
                SubscriptionWarning,
            )

    def _remove(self, connection: Connection) -> None:
        if self._connections.remove(connection):
            self._left(connection)

    def _left(self, connection: Connection) -> None:
        spec = connection.spec
        if spec.owner is not None and spec.leave is not None:
            spec.owner.discard(spec.leave)
        if self._connections.told is not None:
            self._connections.told.run()

    def _mute(self, change: int) -> None:
        with self.lock:
            self._muted += change
        self._connections.require_slow_path(change)

    def __copy__(self) -> Signal[P]:
        """The signal itself: it is what receivers are connected to, not a value."""
        return self

    def __deepcopy__(self, memo: object) -> Signal[P]:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError(f"{self!r} cannot be pickled: import the same signal where it is needed.")

    def __repr__(self) -> str:
        count = len(self._connections.all())
        died = 0 if count else self._connections.died
        why = f"; {died} died, held weakly: weak=False keeps one alive" if died else ""
        return printable(f"<Signal {self.name}, {count} connection{'' if count == 1 else 's'}{why}>")


if TYPE_CHECKING:

    def receiver(
        signal: Signal[...] | Iterable[Signal[...]],
        *,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Hashable = None,
        where: str | None = None,
        priority: float = 100,
    ) -> Callable[[_R], _R]:
        """Connect a function to one or several signals."""
        ...

else:

    def receiver(signal, **options):
        """Connect a function to one or several signals, as a decorator: `@receiver(approved, sender=Shot)`.

        Args:
            signal: one signal, or several.
            options: `sender`, `weak`, `dispatch_uid`, `where` and `priority`, as of `Signal.connect`.

        Raises:
            TypeError: if it is neither, or there is no such option.
        """
        signals = [signal] if isinstance(signal, Signal) else [*signal]
        if not all(isinstance(each, Signal) for each in signals):
            raise TypeError(f"receiver() takes one signal or a list of them, but {signal!r} was given.")
        for name in options:
            if name not in _OPTIONS:
                meant = closest_name(name, _OPTIONS)
                hint = f"Did you mean {meant!r}?" if meant else f"It has {', '.join(_OPTIONS)}."
                raise TypeError(f"receiver() has no option {name!r}. {hint}")

        def decorator(function):
            for each in signals:
                each.connect(function, **options)
            return function

        return decorator


_OPTIONS = ("sender", "weak", "dispatch_uid", "where", "priority")


def signals() -> list[Signal[...]]:
    """Every living signal of the process, in the order of their making."""
    living = [reference() for reference in _living.valuerefs()]
    return sorted([signal for signal in living if signal is not None], key=lambda signal: signal.number)


_numbers = count(1)
_living: WeakValueDictionary[int, Signal[...]] = WeakValueDictionary()
