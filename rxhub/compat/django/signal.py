"""`django.dispatch.Signal` on rxhub's signal.

If all receivers are plain functions, `send` and `send_robust` are rxhub's own. Otherwise `_send` calls them in Django's
order: the synchronous receivers one after the other, then the asynchronous ones concurrently. The first part is an
ordinary send whose coroutines are deferred; `asend` runs it in a thread by `sync_to_async` where Django does. The
deferred coroutines are awaited by the function that the installed Django uses.

If `_live_receivers` is overridden (see `overrides`), every send calls it instead of reading the connections.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, MutableMapping
from functools import partial, update_wrapper
from importlib import import_module
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, TypeVar, cast

from rxhub.compat.django.overrides import ASYNC, LIVE_RECEIVERS, SignalType, substitutes
from rxhub.compat.django.receivers import InsertedConnection, Receivers, connection_of, identity
from rxhub.signals import signal as rxhub_signal
from rxhub.signals.connection import Connection
from rxhub.signals.connections import CallOrder
from rxhub.signals.receiver import PLAIN, Receiver, ReceiverSpec, spec_of
from rxhub.signals.send import ErrorPolicy, Responses, Sending, run_unsuspended

__all__ = ["Signal", "name_in_module", "receiver"]

_R = TypeVar("_R", bound=Receiver)
_Deferred = list[tuple[Receiver, Any]]

logger = logging.getLogger("django.dispatch")

_DEFERRED = object()
_ABSENT = object()


class Signal(rxhub_signal.Signal[...], metaclass=SignalType):
    """A signal with Django's contract and rxhub's features.

    As in Django 6.1, senders are referenced weakly and the connections of dead senders leave `receivers`. Asynchronous
    receivers start after the synchronous ones, as Django documents.

    Args:
        use_caching: stored as an attribute without effect.
        name: for logs, and for `signal=` in subscriptions. Default: its name in a module called `signals`.
    """

    _overridden = False
    _flagged_dead = False
    _has_inserted = False

    def __init__(self, use_caching: bool = False, *, name: str | None = None) -> None:
        super().__init__(name)
        self.use_caching = use_caching
        # Always empty; for code that clears it after writing to `receivers`.
        self.sender_receivers_cache: MutableMapping[Any, Any] = weakref.WeakKeyDictionary() if use_caching else {}
        self.lock = self._connections.lock
        # `mock.patch.object(signal, "receivers", [])` looks here for the value to restore.
        vars(self)["receivers"] = Receivers((), self.adopt)
        self.notice_override()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in (LIVE_RECEIVERS, "__class__"):
            self.notice_override()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name == LIVE_RECEIVERS:
            self.notice_override()

    def notice_override(self) -> None:
        """Take the slow path if `_live_receivers` is overridden."""
        with self._connections.lock:
            overridden = LIVE_RECEIVERS in vars(self) or type(self)._live_receivers is not _live_receivers
            if overridden != self._overridden:
                self._overridden = overridden
                self._connections.require_slow_path(1 if overridden else -1)

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        if not self._named:
            # Looked up once: subscriptions read it at each send.
            self._named, self._name = True, name_in_module(self) or self._name
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    # Django awaits only coroutine receivers, and returns other awaitables unchanged.
    awaits_results = False

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
        """Connect as in Django; `where` and `priority` as in rxhub.

        Raises TypeError if `weak` and the receiver does not support weak references.
        """
        settings = import_module("django.conf").settings
        if settings.configured and settings.DEBUG:
            if not callable(receiver):
                raise TypeError("Signal receivers must be callable.")
            if not import_module("django.utils.inspect").func_accepts_kwargs(receiver):
                raise ValueError("Signal receivers must accept keyword arguments (**kwargs).")
        if weak:
            # Unlike rxhub, Django refuses receivers without weak references, with the error of `weakref.ref`.
            weakref.ref(getattr(receiver, "__self__", receiver) if hasattr(receiver, "__func__") else receiver)
        self._clear_dead_receivers()
        if self._inserted(receiver, sender, dispatch_uid) is None:
            spec = self._filtered(_spec(receiver), where)
            self._connections.connect(receiver, sender, weak, dispatch_uid or None, priority, spec)
        self._refresh()
        return receiver

    # Django's system checks recognize connections to missing models by this name.
    connect.__module__ = "django.dispatch.dispatcher"

    def disconnect(self, receiver: Receiver | None = None, sender: Any = None, dispatch_uid: Hashable = None) -> bool:
        self._clear_dead_receivers()
        disconnected = super().disconnect(receiver, sender, dispatch_uid or None)
        if not disconnected and (inserted := self._inserted(receiver, sender, dispatch_uid)) is not None:
            self._connections.remove(inserted)
            disconnected = True
        self._refresh()
        return disconnected

    def _inserted(self, receiver: Receiver | None, sender: Any, dispatch_uid: Hashable) -> Connection | None:
        """The connection of a row that a program inserted into `receivers`."""
        if not self._has_inserted:
            return None
        key = dispatch_uid or identity(receiver), identity(sender)
        return next((c for c in self._connections.all() if isinstance(c, InsertedConnection) and c.row[0] == key), None)

    def has_listeners(self, sender: Any = None) -> bool:
        return any(self._live_receivers(sender)) if self._overridden else super().has_listeners(sender)

    @property
    def receivers(self) -> Receivers:
        """The connections as Django's list of rows."""
        receivers: Receivers = vars(self)["receivers"]
        receivers.show(self._connections.all())
        return receivers

    @receivers.setter
    def receivers(self, rows: Iterable[tuple[Any, ...]]) -> None:
        receivers = self.receivers
        if rows is not receivers:
            # The old list keeps its rows.
            receivers.on_change = None
            vars(self)["receivers"] = Receivers((), self.adopt)
        self.adopt(rows)

    def adopt(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Connect exactly these rows, in this order among equal priorities."""
        connected = self._connections.all()
        # By identity: weak references to the same receiver are equal.
        made = [connection_of(row, connected, self._connections) for row in rows]
        wanted = {id(each): each for each in made if each is not None}
        self._has_inserted = any(isinstance(each, InsertedConnection) for each in wanted.values())
        if [*wanted] == [*map(id, connected)]:
            return
        for connection in connected:
            self._connections.remove(connection, silently=True)
        for connection in wanted.values():
            self._connections.reconnect(connection)

    def _refresh(self) -> None:
        receivers: Receivers = vars(self)["receivers"]
        if receivers.shown:
            receivers.show(self._connections.all())

    # Private methods of Django's signal that programs call

    @property
    def _dead_receivers(self) -> bool:
        return self._flagged_dead or bool(self._connections.dead)

    @_dead_receivers.setter
    def _dead_receivers(self, value: bool) -> None:
        self._flagged_dead = value

    def _clear_dead_receivers(self) -> None:
        if self._dead_receivers:
            self._flagged_dead = False
            self._connections.purge_dead()
            self._refresh()

    def _flag_dead_receivers(self, reference: object = None) -> None:
        """Report a dead receiver or sender; in Django 6.1, the callback of weak references."""
        self._dead_receivers = True

    _remove_receiver = _flag_dead_receivers  # in Django 5, the finalizer of a receiver

    def _log_robust_failure(self, receiver: Receiver, err: Exception) -> None:
        name = getattr(receiver, "__qualname__", None) or repr(receiver)
        logger.error("Error calling %s in Signal.send_robust() (%s)", name, err, exc_info=err)

    # Sending

    def _call_order(self, sender: Any, named: dict[str, Any]) -> CallOrder:
        if not self._overridden or self._connections.muted or not self._connections.slots:
            return super()._call_order(sender, named)
        call_order = substitutes(self._live_receivers(sender))
        if call_order and "signal" in named:
            raise self._reserved()
        return call_order

    def _send(self, sender: Any, named: dict[str, Any], policy: ErrorPolicy, origin: str | None = None) -> Responses:
        call_order = self._call_order(sender, named)
        if not call_order:
            return []
        responses, deferred = self._run_sync_receivers(call_order, sender, named, policy, origin)
        if deferred:
            async_to_sync = import_module("asgiref.sync").async_to_sync
            try:
                responses += async_to_sync(self._await_receivers)(deferred, policy)
            finally:
                _close(deferred)
        return responses

    async def _asend(
        self, sender: Any, named: dict[str, Any], policy: ErrorPolicy, origin: str | None = None
    ) -> Responses:
        call_order = self._call_order(sender, named)
        if not call_order:
            return []
        begin: Callable[..., Any] = partial(self._run_sync_receivers, call_order, sender, named, policy, origin)
        if all(connection.spec.is_async for connection in call_order):
            responses, deferred = begin()
        else:
            responses, deferred = await import_module("asgiref.sync").sync_to_async(begin)()
        if deferred:
            try:
                responses += await self._await_receivers(deferred, policy)
            finally:
                _close(deferred)
        return responses

    def _run_sync_receivers(
        self, call_order: CallOrder, sender: Any, named: dict[str, Any], policy: ErrorPolicy, origin: str | None = None
    ) -> tuple[Responses, _Deferred]:
        deferred: _Deferred = []

        async def defer(_: object, receiver: Receiver, coroutine: Awaitable[Any]) -> object:
            deferred.append((receiver, coroutine))
            return _DEFERRED

        try:
            responses = run_unsuspended(Sending(self, sender, named, origin).deliver(call_order, policy, defer))
        except BaseException:
            _close(deferred)
            raise
        return [answer for answer in responses if answer[1] is not _DEFERRED and answer[1] is not _ABSENT], deferred

    async def _await_receivers(self, deferred: _Deferred, policy: ErrorPolicy) -> Responses:
        # Django 5.2 uses asyncio.gather.
        run_parallel: Any = getattr(import_module("django.dispatch.dispatcher"), "_run_parallel", asyncio.gather)
        finish = self._collected if policy == "collect" else _awaited
        values = await run_parallel(*[finish(receiver, coroutine) for receiver, coroutine in deferred])
        return [(call, value) for (call, _), value in zip(deferred, values, strict=True) if value is not _ABSENT]

    async def _collected(self, receiver: Receiver, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await coroutine
        except Exception as error:
            self.report(receiver, error)
            return error

    def report(self, receiver: Receiver, error: Exception) -> None:
        """Log as Django does, and publish on `errors`."""
        self._log_robust_failure(receiver, error)
        if self._errors is not None:
            self._errors.on_next(error)

    def _live_receivers(self, sender: Any) -> tuple[list[Receiver], list[Receiver]]:
        """The synchronous and the asynchronous receivers of a sender.

        Sending calls it only if it is overridden. Receivers with `where=`, `emission` or pipelines are replaced by
        `_call`, which joins the current send, so these work below a wrapper too.
        """
        self._clear_dead_receivers()
        synchronous: list[Receiver] = []
        asynchronous: list[Receiver] = []
        for connection in super()._call_order(sender, {}):
            if connection.alive and (call := connection()) is not None:
                if not connection.spec.plain and connection.spec != ASYNC:
                    # Tracing tools report the name of the receiver.
                    call = update_wrapper(partial(self._call, connection), call)
                (asynchronous if connection.spec.is_async else synchronous).append(call)
        return synchronous, asynchronous

    def _call(self, connection: Connection, *, signal: object, sender: Any, **named: Any) -> Any:
        sending = Sending.under_way(self, {**named, "signal": signal, "sender": sender})
        if sending is not None:
            value = sending.call(connection, _ABSENT)
            return _result(_ABSENT) if value is _ABSENT and connection.spec.is_async else value
        responses, deferred = self._run_sync_receivers((connection,), sender, named, "raise")
        if connection.spec.is_async:
            return deferred[0][1] if deferred else _result(None)
        return responses[0][1] if responses else None


_live_receivers = Signal._live_receivers  # pyright: ignore[reportPrivateUsage]


def receiver(signal: Any, **options: Any) -> Callable[[_R], _R]:
    """Decorator that connects a function to a signal, or to each signal of a list; options as in `connect`."""

    def decorator(function: _R) -> _R:
        for each in cast("Iterable[Any]", signal) if isinstance(signal, (list, tuple)) else (signal,):
            each.connect(function, **options)
        return function

    return decorator


def name_in_module(signal: object) -> str | None:
    """The name of a signal in a module called `signals`, or None."""
    for name, module in [*sys.modules.items()]:
        if name.rpartition(".")[2] == "signals":
            for attribute, value in [*getattr(module, "__dict__", {}).items()]:
                if value is signal:
                    return attribute
    return None


def _spec(receiver: Receiver) -> ReceiverSpec:
    try:
        spec = spec_of(receiver)
    except TypeError:
        spec = PLAIN  # as in Django, sending fails
    # To Django, an instance with a coroutine `__call__` is asynchronous only if it is marked as such.
    awaits: bool = import_module("asgiref.sync").iscoroutinefunction(receiver)
    if awaits == spec.is_async:
        return spec
    return ReceiverSpec(wants_emission=spec.wants_emission, is_async=awaits) if awaits or spec.wants_emission else PLAIN


async def _awaited(_: Receiver, coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await coroutine


async def _result(value: object) -> object:
    return value


def _close(deferred: _Deferred) -> None:
    """Close coroutines that were never awaited, which Python would warn about."""
    for _, coroutine in deferred:
        if asyncio.iscoroutine(coroutine) and getcoroutinestate(coroutine) == CORO_CREATED:
            coroutine.close()
