"""One receiver's connection to a signal, and the slot of its sender.

A connection *is* the weak reference to its receiver. When that dies, or a sender does, the interpreter appends the
reference to a deque; no lock is taken and no Python code runs there, since garbage may be collected anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias, TypeGuard, cast
from weakref import ref

from rxhub.concurrency.weakrefs import collector, ensure_callback
from rxhub.rx.scope import Scope
from rxhub.signals.receiver import Receiver, ReceiverSpec

__all__ = [
    "ANYONE",
    "Connection",
    "OnDeath",
    "SenderKey",
    "SenderReference",
    "SenderSlot",
    "checked_priority",
    "connection_to",
    "key_of",
    "receiver_key",
]

SenderKey: TypeAlias = Hashable

OnDeath: TypeAlias = Callable[[ref[Any]], object]

ANYONE = 0  # no object has this id


class Connection(ref[Any]):
    """One receiver's connection to a signal; calling it returns the receiver, or None once that has died.

    Attributes:
        alive: False once it is disconnected; checked before every call.
        priority: lower comes first.
        order: the number of connections made before, for equal priorities.
        key: identifies it among the connections of its sender.
        spec: how the receiver is called.
        slot: the connections of its sender.
        kept: the receiver, if it is held strongly.
    """

    # Two connections of one receiver are not equal, and a receiver need not be hashable.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    __slots__ = ("alive", "kept", "key", "order", "priority", "slot", "spec")

    alive: bool
    priority: float
    order: int
    key: Hashable
    spec: ReceiverSpec
    kept: Receiver | None
    slot: SenderSlot

    @property
    def receiver(self) -> Receiver | None:
        """The receiver; None once it has died."""
        return self()

    @property
    def sender(self) -> Any:
        """The sender whose emissions it receives; None for every sender, or once the sender has died."""
        return self.slot.sender

    @property
    def weak(self) -> bool:
        """Whether the receiver is held weakly."""
        return self.kept is None

    @property
    def dispatch_uid(self) -> Hashable:
        """The `dispatch_uid` that it was connected with, or None."""
        key = cast("tuple[Any, ...]", self.key if isinstance(self.key, tuple) else ())
        return key[1] if key and key[0] is None else None

    @property
    def where(self) -> str | None:
        """The subscription that emissions must match, or None."""
        return self.spec.where

    @property
    def owner(self) -> Scope | None:
        """The scope that it belongs to, such as a plugin's, or None."""
        return self.spec.owner

    def __repr__(self) -> str:
        state = "" if self.alive else "disconnected "
        return f"<{state}connection of {self()!r} at priority {self.priority}>"


class _MethodConnection(Connection):
    """Refers to the object of a bound method: each access makes a new method, which dies at once."""

    __slots__ = ("function",)

    function: Callable[..., Any]

    def __call__(self) -> Receiver | None:
        owner = super().__call__()
        return None if owner is None else MethodType(self.function, owner)


class _KeptConnection(Connection):
    """Holds a receiver that has no weak references; the reference is to its class."""

    __slots__ = ()

    def __call__(self) -> Receiver | None:
        return self.kept


class SenderReference(ref[Any]):
    """A weak reference to a sender."""

    __slots__ = ("key",)

    key: SenderKey


class SenderSlot:
    """The connections for one sender, which is held weakly; its reference is passed to `on_death`."""

    __slots__ = ("key", "members", "reference")

    def __init__(self, key: SenderKey, sender: Any, on_death: OnDeath | None = None) -> None:
        self.key = key
        self.members: dict[Hashable, Connection] = {}
        self.reference: SenderReference | tuple[Any] = (sender,)
        if type(key) is int and sender is not None:
            try:
                self.reference = SenderReference(sender, on_death)
            except TypeError:
                pass  # without weak references it is kept, and its id with it
            else:
                self.reference.key = key
                if collector.running and on_death is not None:
                    ensure_callback(self.reference, on_death)

    @property
    def sender(self) -> Any:
        """The sender; None for every sender, or once it has died."""
        return self.reference[0] if isinstance(self.reference, tuple) else self.reference()

    @property
    def is_orphaned(self) -> bool:
        """Whether the sender has died."""
        return not isinstance(self.reference, tuple) and self.reference() is None


def key_of(sender: Any) -> SenderKey:
    """Identify a sender: strings, bytes and integers by equality, everything else by identity."""
    if sender is None:
        return ANYONE
    kind = cast("type[Any]", type(sender))
    if kind is str or kind is bytes:
        return sender
    if kind is int:
        return (sender,)
    return id(sender)


def checked_priority(priority: float) -> float:
    """The priority itself; TypeError if it is not a number that can be compared."""
    if not isinstance(priority, (int, float)) or priority != priority:
        raise TypeError(f"A priority is a number, lower first, but {priority!r} was given.")
    return priority


def receiver_key(receiver: Receiver, dispatch_uid: Hashable) -> Hashable:
    """Identify a receiver among those of a sender."""
    if dispatch_uid is not None:
        hash(dispatch_uid)
        return None, dispatch_uid
    if type(receiver) is FunctionType:
        return id(receiver)
    if _is_method(receiver):
        return id(receiver.__self__), id(receiver.__func__)
    if _is_builtin_method(receiver):
        return id(receiver.__self__), receiver.__name__
    return id(receiver)


def connection_to(receiver: Receiver, weak: bool, on_death: OnDeath) -> Connection:
    """A connection to any kind of receiver; one that has no weak references is held strongly."""
    if not _is_builtin_method(receiver):
        try:
            if _is_method(receiver):
                connection = _MethodConnection(receiver.__self__, on_death)
                connection.function = receiver.__func__
            else:
                connection = Connection(receiver, on_death)
        except TypeError:
            pass  # it has no weak references
        else:
            connection.kept = None if weak else receiver
            return connection
    connection = _KeptConnection(type(receiver))
    connection.kept = receiver
    return connection


def _is_method(receiver: object) -> TypeGuard[MethodType]:
    # Not isinstance: a mock of a method claims to be one.
    return type(receiver) is MethodType


def _is_builtin_method(receiver: object) -> TypeGuard[BuiltinMethodType]:
    """Whether it is a method of a builtin's instance; each access makes a new one, but not from a function."""
    return type(receiver) is BuiltinMethodType and not isinstance(receiver.__self__, ModuleType)
