"""The subject: reactivex's, but fast, keeping the order, and isolating its observers.

A subject is a dictionary of subscriptions and a tuple made of it, the *listeners*: pairs of an observer's gate (the
`AutoDetachObserver` that `subscribe` puts before it, whose `is_stopped` is checked before each call) and its bound
callback. A change marks the tuple stale; the next emission makes a new one.

The *fast path* is the loop in `on_next`, guarded by `_ready`:

    a tuple   open: these are the listeners
    ()        closed: no listeners, the tuple is stale, the subject has ended, or it always takes the slow path
    None      an emission is on it at this moment

The *slow path* is `_emit`. It knows for each thread what is queued behind the emission under way there: what an
observer emits during an emission is queued with the listeners of that moment, and delivered by the outermost call when
its own value has reached every listener. The state (`is_stopped`, `exception`) changes at once. Nothing records which
thread is on the fast path, since that would cost a fifth of an emission: a thread that finds None looks for the fast
path among its own callers.

Steps such as "test `_ready`, then set it" contain no call, where alone CPython switches threads and runs signal
handlers and finalizers, which may emit too. Without a GIL, a rare race may swap two values, nothing else.
"""

from __future__ import annotations

import logging
import reprlib
from _thread import allocate_lock, get_ident
from collections import deque
from collections.abc import Callable
from inspect import currentframe
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, cast

import reactivex
from reactivex import abc
from reactivex.disposable import Disposable
from reactivex.observer import AutoDetachObserver

from rxhub.concurrency.fork import LazyForkSafeLock
from rxhub.rx.awaitable import Awaitable

__all__ = ["OnObserverError", "Subject"]

_T = TypeVar("_T")

OnObserverError: TypeAlias = Literal["log", "raise", "group"] | Callable[[Exception, AutoDetachObserver[Any]], object]
"""What happens when an observer raises; see `Subject`."""

_Listener: TypeAlias = tuple[AutoDetachObserver[Any], Callable[..., object]]
_Listeners: TypeAlias = tuple[_Listener, ...]
_Queue: TypeAlias = deque[tuple[_Listeners, tuple[Any, ...]]]

_logger = logging.getLogger("rxhub")


class Subject(Awaitable[_T], reactivex.Subject[_T]):
    """A fast `reactivex.Subject` that keeps the order and isolates its observers.

    An observer that raises does not disturb the others; a value that an observer emits follows the one under way, for
    all observers; unsubscribing takes the same time among ten observers as among ten thousand; any thread can await it.

    Args:
        on_observer_error: what happens when an observer raises.
            `"log"`: the error is logged on the logger `rxhub`, and the next observers run.
            `"raise"`: as in reactivex, the first error is raised to the producer, and no later observer runs.
            `"group"`: all observers run, then an `ExceptionGroup` is raised to the producer.
            A callable `(error, observer) -> None`: it is called, and the next observers run; `observer.dispose()`
            unsubscribes the failing one. What it raises itself is logged.
            With `"raise"` and `"group"`, queued values are delivered first. What is not an `Exception`, such as
            KeyboardInterrupt, is always raised at once, and what the same thread had queued is dropped.
        serialize: let only one thread at a time call the observers. The first one delivers, also what others emit in
            the meantime; they return at once. No lock is held while observers run. An error that is raised is raised in
            the thread that delivers.
    """

    lock = LazyForkSafeLock()  # pyright: ignore[reportAssignmentType]
    _hooked: ClassVar[bool] = False
    _joins_plainly: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._hooked = cls._on_next_core is not Subject[Any]._on_next_core
        cls._joins_plainly = cls._subscribe_core is Subject[Any]._subscribe_core

    def __init__(self, *, on_observer_error: OnObserverError = "log", serialize: bool = False) -> None:
        # Not super().__init__(), which makes two locks and seven attributes that are never read.
        if on_observer_error not in ("log", "raise", "group") and not callable(on_observer_error):
            raise ValueError(
                f"on_observer_error={on_observer_error!r} is not valid: "
                'use "log", "raise", "group" or a callable that takes the error and the observer.'
            )
        self.is_disposed = False
        self.is_stopped = False
        self.exception: Exception | None = None
        self._policy: OnObserverError = on_observer_error
        self._careful = serialize or self._hooked or on_observer_error in ("raise", "group")
        self._subscriptions: dict[_SubjectSubscription, _Listener] = {}
        self._listeners: _Listeners = ()
        self._ready: _Listeners | None = ()
        # By thread: what is queued behind the emission under way there.
        self._queues: dict[int, _Queue] = {}
        self._serial_queue: _Queue | None = deque() if serialize else None
        self._turn = allocate_lock()

    # Subscribing

    def subscribe(
        self,
        on_next: abc.ObserverBase[_T] | abc.OnNext[_T] | None = None,
        on_error: abc.OnError | None = None,
        on_completed: abc.OnCompleted | None = None,
        *,
        scheduler: abc.SchedulerBase | None = None,
    ) -> abc.DisposableBase:
        """Subscribe an observer, or callbacks. `dispose()` of the result, or leaving its `with` block, unsubscribes."""
        # Nothing is emitted while subscribing to a live subject, so it needs no trampoline, most of the cost.
        if self._joins_plainly and not self.is_stopped:
            if callable(getattr(on_next, "on_next", None)):
                observer = cast("abc.ObserverBase[_T]", on_next)
                gate = AutoDetachObserver(observer.on_next, observer.on_error, observer.on_completed)
            else:
                gate = AutoDetachObserver(cast("abc.OnNext[_T] | None", on_next), on_error, on_completed)
            if subscription := self._join(gate, gate):
                gate.set_disposable(subscription)
                return subscription
        return super().subscribe(on_next, on_error, on_completed, scheduler=scheduler)

    def _subscribe_core(
        self, observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        gate: AutoDetachObserver[_T]
        if type(cast("object", observer)) is AutoDetachObserver:
            gate = cast("AutoDetachObserver[_T]", observer)
        else:
            gate = AutoDetachObserver(observer.on_next, observer.on_error, observer.on_completed)
        if subscription := self._join(gate, observer):
            return subscription
        self.check_disposed()
        if self.exception is not None:
            observer.on_error(self.exception)
        else:
            observer.on_completed()
        return Disposable()

    def _join(self, gate: AutoDetachObserver[_T], observer: abc.ObserverBase[_T]) -> _SubjectSubscription | None:
        # The gate's own on_next would only check is_stopped once more.
        listener = gate, getattr(gate, "_on_next", gate.on_next)
        subscription = _SubjectSubscription(self._leave, gate, observer)
        with self.lock:
            if self.is_stopped:
                return None
            self._subscriptions[subscription] = listener
            self._changed()
        return subscription

    def _leave(self, subscription: _SubjectSubscription) -> None:
        with self.lock:
            if self._subscriptions.pop(subscription, None):
                self._changed()

    def _changed(self) -> None:
        self._listeners = ()
        if self._ready:
            self._ready = ()

    def _snapshot(self) -> _Listeners:
        if not self._subscriptions:
            return ()
        with self.lock:
            # Not tuple(…): a finalizer that unsubscribes between its look at the size and the copying makes it fail.
            listeners = self._listeners = (*self._subscriptions.values(),)
        return listeners

    @property
    def observers(self) -> list[abc.ObserverBase[_T]]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The subscribed observers in order, as a new list."""
        return [subscription.observer for subscription in (*self._subscriptions,)]

    # Emitting

    def on_next(self, value: _T) -> None:
        """Emit the value to all present observers.

        Raises DisposedException if the subject is disposed, and errors of observers according to `on_observer_error`.
        """
        ready = self._ready
        if not ready:
            if self.is_stopped:
                self.check_disposed()
            else:
                self._on_next_core(value)
            return
        self._ready = None
        try:
            for gate, call in ready:
                if not gate.is_stopped:
                    try:
                        call(value)
                    except Exception as error:
                        self._report(error, gate)
            if self._queues:
                self._catch_up()
            else:
                self._ready = self._listeners
        except BaseException:
            self._ready = ()
            self._queues.pop(get_ident(), None)
            raise

    def on_error(self, error: Exception) -> None:
        """End with an error; later subscribers receive it too. Raises as `on_next`."""
        with self.lock:
            self.check_disposed()
            if self.is_stopped:
                return
            self.is_stopped = True
            # At once, and not only in the hook: a new subscriber would be completed.
            self.exception = error
        self._on_error_core(error)

    def on_completed(self) -> None:
        """End; later subscribers are completed at once. Raises as `on_next`."""
        with self.lock:
            self.check_disposed()
            if self.is_stopped:
                return
            self.is_stopped = True
        self._on_completed_core()

    def dispose(self) -> None:
        """Drop all observers; from now on emitting and subscribing raise DisposedException."""
        with self.lock:
            self.is_disposed = True
            self.is_stopped = True
            self.exception = None
            self._empty()

    def _on_next_core(self, value: _T) -> None:
        if listeners := self._listeners or self._snapshot():
            self._emit(listeners, value)

    def _on_error_core(self, error: Exception) -> None:
        with self.lock:
            self.exception = error
            gates = self._empty()
        self._emit(tuple((gate, gate.on_error) for gate in gates), error)

    def _on_completed_core(self) -> None:
        with self.lock:
            gates = self._empty()
        self._emit(tuple((gate, gate.on_completed) for gate in gates))

    def _empty(self) -> list[AutoDetachObserver[Any]]:
        gates = [gate for gate, _ in (*self._subscriptions.values(),)]
        self._subscriptions.clear()
        self._changed()
        return gates

    def _emit(self, listeners: _Listeners, *arguments: Any) -> None:
        """Call them, after what this subject is delivering in this thread already."""
        failure: Exception | None = None
        if (queue := self._serial_queue) is not None:
            queue.append((listeners, arguments))
            # Checked again after each turn: a thread that queued just before its end found the lock taken, and left.
            while queue and self._turn.acquire(False):
                try:
                    failure = self._deliver(queue, failure)
                finally:
                    self._turn.release()
            if failure is not None:
                raise failure
            return
        me = get_ident()
        queue = self._queues.get(me)
        if queue is None and self._ready is None and self._fast_path_below():
            queue = self._queues[me] = deque()
        if queue is not None:
            queue.append((listeners, arguments))
            return
        queue = self._queues[me] = deque(((listeners, arguments),))
        if self._ready:
            self._ready = ()
        try:
            while queue:
                failure = self._deliver(queue, failure)
        finally:
            del self._queues[me]
            if not (self._careful or self._queues or self._ready is None):
                self._ready = self._listeners
        if failure is not None:
            raise failure

    def _fast_path_below(self) -> bool:
        """Whether this thread is on the fast path."""
        frame = currentframe()
        while frame is not None:
            if frame.f_code is _FAST_PATH:
                seen = frame.f_locals
                # The `on_next` that asks found the path closed: its own `ready` is empty.
                if seen["self"] is self and seen["ready"]:
                    return True
            frame = frame.f_back
        return False

    def _catch_up(self) -> None:
        """Deliver what this thread's observers emitted on the fast path, and leave it."""
        me = get_ident()
        while me in self._queues:
            queue = self._queues[me]
            while queue:
                # No error is returned: policies that raise never take the fast path.
                self._deliver(queue)
            del self._queues[me]
        self._ready = () if self._queues else self._listeners

    def _deliver(self, queue: _Queue, failure: Exception | None = None) -> Exception | None:
        """Empty the queue; return the first error to raise, and log further ones."""
        while queue:
            listeners, arguments = queue.popleft()
            errors: list[Exception] = []
            for gate, call in listeners:
                if not gate.is_stopped:
                    try:
                        call(*arguments)
                    except Exception as error:
                        if self._policy in ("raise", "group"):
                            errors.append(error)
                        else:
                            self._report(error, gate)
                        if self._policy == "raise":
                            break
            if errors:
                failed = (
                    errors[0] if self._policy == "raise" else ExceptionGroup(f"Observers of {self!r} raised", errors)
                )
                if failure is None:
                    failure = failed
                else:
                    _logger.error("Observers of %r raised again, for a queued value.", self, exc_info=failed)
        return failure

    def _report(self, error: Exception, gate: AutoDetachObserver[Any]) -> None:
        if callable(self._policy):
            try:
                self._policy(error, gate)
            except Exception:
                _logger.exception("The on_observer_error of %r raised for %r.", self, error)
            return
        who = getattr(gate, "_on_next", gate)
        _logger.error("An observer of %r raised, the others go on: %r", self, who, exc_info=error)

    def after_fork(self) -> None:
        """Forget what other threads deliver: they are not in the forked child."""
        me = get_ident()
        self._queues = {thread: queue for thread, queue in self._queues.items() if thread == me}
        if self._serial_queue is not None:
            self._serial_queue, self._turn = deque(), allocate_lock()
        if self._ready is None and not self._fast_path_below():
            self._ready = ()

    def __repr__(self) -> str:
        count = len(self._subscriptions)
        state = f"with {count} observer{'' if count == 1 else 's'}"
        if self.is_stopped:
            state = "completed" if self.exception is None else f"failed with {reprlib.repr(self.exception)}"
        if self.is_disposed:
            state = "disposed"
        return f"<{type(self).__name__} {state}>"


_FAST_PATH = Subject[Any].on_next.__code__


class _SubjectSubscription(abc.DisposableBase):
    """One observer's subscription: the user's handle, and what the gate disposes of when it closes."""

    __slots__ = ("_gate", "_leave", "observer")

    def __init__(
        self,
        leave: Callable[[_SubjectSubscription], None],
        gate: AutoDetachObserver[Any],
        observer: abc.ObserverBase[Any],
    ) -> None:
        self._leave: Callable[[_SubjectSubscription], None] | None = leave
        self._gate = gate
        self.observer = observer

    @property
    def is_disposed(self) -> bool:
        return self._leave is None

    def dispose(self) -> None:
        """Unsubscribe: the observer receives nothing further, not even what is under way."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave(self)
            self._gate.dispose()

    def __repr__(self) -> str:
        return f"<subscription of {self.observer!r}{', disposed' if self.is_disposed else ''}>"
