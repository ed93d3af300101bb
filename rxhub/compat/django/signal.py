"""`django.dispatch.Signal` on rxhub's signal.

Theory of operation. When all who are to be called are plain functions, `send` and `send_robust` are rxhub's own.
Everybody else gets what is sent by `_send`, in Django's order: the synchronous receivers, one after the other, then the
asynchronous ones, side by side. The first half is an ordinary sending whose coroutines are put off instead of awaited;
`asend` runs it in a thread by `sync_to_async`, where Django would; the second half is awaited by whatever the installed
Django awaits its own receivers with, so that a failing one cancels the others, and contextvars are shared, exactly as
they are there.

`receivers` is a picture of the connections, made when it is looked at; see `Receivers`.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import weakref
from collections.abc import Callable, Coroutine, Hashable, Iterable
from functools import partial
from importlib import import_module
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, TypeVar, cast

from rxhub import signal as rxhub_signal
from rxhub.compat.django.receivers import Receivers, connection_of
from rxhub.convention import PLAIN, Receiver, Terms, terms_of
from rxhub.seats import Connection, Lineup
from rxhub.sending import Answers, Policy, Sending

__all__ = ["Signal", "name_in_module", "receiver"]

_R = TypeVar("_R", bound=Receiver)
_Later = list[tuple[Receiver, Any]]

logger = logging.getLogger("django.dispatch")

_LATER = object()


class Signal(rxhub_signal.Signal[...]):
    """A signal with Django's contract, and rxhub's abilities beside it.

    Where Django 5.2 and 6.1 differ, senders are held weakly as in 6.1, so that a dead sender's connections leave
    `receivers`, and asynchronous receivers begin when the synchronous ones have ended, as both document it.

    Args:
        use_caching: kept as an attribute; finding the receivers of a sender takes the same time with and without it.
        name: for people, and for `signal=` in subscriptions; unless it is given, the name under which a module
            `signals` has it.

    Attributes:
        sender_receivers_cache: always empty; for code that clears it after writing to `receivers`.
    """

    def __init__(self, use_caching: bool = False, *, name: str | None = None) -> None:
        super().__init__(name)
        self.use_caching = use_caching
        self.sender_receivers_cache: dict[Any, Any] = {}
        # In the place where `mock.patch.object(signal, "receivers", [])` looks for what it has to put back.
        vars(self)["receivers"] = Receivers(self)

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """For people."""
        if not self._named:
            # Looked for only once: subscriptions ask for it at each sending.
            self._named, self._name = True, name_in_module(self) or self._name
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

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
        """Connect as Django does; `where` and `priority` as in rxhub.

        Raises:
            TypeError: if the receiver is to be weak and takes no weak reference, or cannot be called and DEBUG is on.
            ValueError: if DEBUG is on and the receiver takes no `**kwargs`.
            ExpressionError: if `where` does not parse.
        """
        settings = import_module("django.conf").settings
        if settings.configured and settings.DEBUG:
            if not callable(receiver):
                raise TypeError("Signal receivers must be callable.")
            if not import_module("django.utils.inspect").func_accepts_kwargs(receiver):
                raise ValueError("Signal receivers must accept keyword arguments (**kwargs).")
        if weak:
            # rxhub would keep what takes no weak reference; Django refuses it, in the words of `weakref.ref`.
            weakref.ref(getattr(receiver, "__self__", receiver) if hasattr(receiver, "__func__") else receiver)
        self._connect(receiver, sender, weak, dispatch_uid or None, priority, where, _terms(receiver))
        self._refresh()
        return receiver

    # The system checks know a connection to a model that does not exist by the name of what would connect it.
    connect.__module__ = "django.dispatch.dispatcher"

    def disconnect(self, receiver: Receiver | None = None, sender: Any = None, dispatch_uid: Hashable = None) -> bool:
        """Undo `connect` with the same arguments; whether it was connected."""
        disconnected = super().disconnect(receiver, sender, dispatch_uid or None)
        self._refresh()
        return disconnected

    @property
    def receivers(self) -> Receivers:
        """Who is connected, as the list that Django has here."""
        receivers: Receivers = vars(self)["receivers"]
        receivers.show(self._places.all())
        return receivers

    @receivers.setter
    def receivers(self, rows: Iterable[tuple[Any, ...]]) -> None:
        receivers = self.receivers
        if rows is not receivers:
            # Whoever keeps the old list finds in it what was there.
            receivers.keeper = None
            vars(self)["receivers"] = Receivers(self)
        self.adopt(rows)

    def adopt(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Connect these and nobody else, in this order among equal priorities."""
        connected = self._places.all()
        # By identity: weak references to the same receiver are equal.
        wanted = {id(each): each for each in [connection_of(row, connected) for row in rows]}
        if [*wanted] == [*map(id, connected)]:
            return
        for connection in connected:
            self._places.remove(connection)
        for connection in wanted.values():
            self._places.rejoin(connection)

    def _refresh(self) -> None:
        receivers: Receivers = vars(self)["receivers"]
        if receivers.shown:
            receivers.show(self._places.all())

    # Sending

    def _send(self, sender: Any, named: dict[str, Any], policy: Policy, origin: str | None = None) -> Answers:
        lineup = self._lineup(sender, named)
        if not lineup:
            return []
        answers, later = self._begin(lineup, sender, named, policy, origin)
        if later:
            async_to_sync = import_module("asgiref.sync").async_to_sync
            try:
                answers += async_to_sync(self._finish)(later, policy)
            finally:
                _close(later)
        return answers

    async def _asend(self, sender: Any, named: dict[str, Any], policy: Policy, origin: str | None = None) -> Answers:
        lineup = self._lineup(sender, named)
        if not lineup:
            return []
        begin: Callable[..., Any] = partial(self._begin, lineup, sender, named, policy, origin)
        if all(connection.terms.awaits for connection in lineup):
            answers, later = begin()
        else:
            answers, later = await import_module("asgiref.sync").sync_to_async(begin)()
        if later:
            try:
                answers += await self._finish(later, policy)
            finally:
                _close(later)
        return answers

    def _begin(
        self, lineup: Lineup, sender: Any, named: dict[str, Any], policy: Policy, origin: str | None = None
    ) -> tuple[Answers, _Later]:
        later: _Later = []

        async def put_off(_: object, receiver: Receiver, coroutine: Coroutine[Any, Any, Any]) -> object:
            later.append((receiver, coroutine))
            return _LATER

        steps = Sending(self, sender, named, origin).give(lineup, policy, put_off)
        try:
            steps.send(None)
        except StopIteration as end:
            answers: Answers = end.value
            return [answer for answer in answers if answer[1] is not _LATER], later
        except BaseException:
            _close(later)
            raise
        raise AssertionError("a sending that does not await was suspended")

    async def _finish(self, later: _Later, policy: Policy) -> Answers:
        # Django 5.2 has no name for it, and gathers.
        together: Any = getattr(import_module("django.dispatch.dispatcher"), "_run_parallel", asyncio.gather)
        finish = self._collected if policy == "collect" else _awaited
        values = await together(*[finish(receiver, coroutine) for receiver, coroutine in later])
        return [(receiver, value) for (receiver, _), value in zip(later, values, strict=True)]

    async def _collected(self, receiver: Receiver, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await coroutine
        except Exception as error:
            self.failed(receiver, error)
            return error

    def failed(self, call: Receiver, error: Exception) -> None:
        """Log as Django does, and report on `errors`."""
        name = getattr(call, "__qualname__", None) or repr(call)
        logger.error("Error calling %s in Signal.send_robust() (%s)", name, error, exc_info=error)
        if self._errors is not None:
            self._errors.on_next(error)

    def _live_receivers(self, sender: Any) -> tuple[list[Receiver], list[Receiver]]:
        """Who would be called, synchronous and asynchronous; for subclasses that send in a way of their own."""
        synchronous: list[Receiver] = []
        asynchronous: list[Receiver] = []
        for connection in self._lineup(sender, {}):
            if (call := connection()) is not None:
                if not connection.terms.plain and connection.terms != _AWAITS:
                    call = partial(self._call, connection)
                (asynchronous if connection.terms.awaits else synchronous).append(call)
        return synchronous, asynchronous

    def _call(self, connection: Connection, *, signal: object, sender: Any, **named: Any) -> Any:
        answers, later = self._begin((connection,), sender, named, "raise")
        if connection.terms.awaits:
            return later[0][1] if later else _nothing()
        return answers[0][1] if answers else None


def receiver(signal: Any, **options: Any) -> Callable[[_R], _R]:
    """Connect a function to one signal, or to each of a list, as a decorator; options as of `connect`."""

    def decorator(function: _R) -> _R:
        for each in cast("Iterable[Any]", signal) if isinstance(signal, (list, tuple)) else (signal,):
            each.connect(function, **options)
        return function

    return decorator


def name_in_module(signal: object) -> str | None:
    """The name under which a module called `signals` has this signal; None if there is none."""
    for name, module in [*sys.modules.items()]:
        if name.rpartition(".")[2] == "signals":
            for attribute, value in [*getattr(module, "__dict__", {}).items()]:
                if value is signal:
                    return attribute
    return None


_AWAITS = Terms(awaits=True)


def _terms(receiver: Receiver) -> Terms:
    try:
        terms = terms_of(receiver)
    except TypeError:
        terms = PLAIN  # as in Django, whoever sends finds out
    # A class with a coroutine for its `__call__` is none to Django, unless it says so.
    awaits: bool = import_module("asgiref.sync").iscoroutinefunction(receiver)
    if awaits == terms.awaits:
        return terms
    return Terms(asks=terms.asks, awaits=awaits) if awaits or terms.asks else PLAIN


async def _awaited(_: Receiver, coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await coroutine


async def _nothing() -> None:
    pass


def _close(later: _Later) -> None:
    """Close coroutines that nobody has begun to await, for Python would warn of them."""
    for _, coroutine in later:
        if asyncio.iscoroutine(coroutine) and getcoroutinestate(coroutine) == CORO_CREATED:
            coroutine.close()
