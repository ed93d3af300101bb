"""Weak references to receivers, bound methods included."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from weakref import ReferenceType, ref

from rxhub.compat.pydispatch.errors import DispatcherTypeError

__all__ = ["BoundMethodWeakref", "safeRef"]

_logger = logging.getLogger("rxhub")


def safeRef(  # noqa: N802 - PyDispatcher's name
    target: Any,
    onDelete: Callable[[Any], object] | None = None,  # noqa: N803 - likewise
) -> ReferenceType[Any] | BoundMethodWeakref:
    """A weak reference to a callable, bound methods included; `onDelete` is called with it when the target has died.

    Raises:
        TypeError: if the target does not support weak references; a `DispatcherTypeError` for methods written in C.
    """
    if getattr(target, "__self__", None) is not None:
        if not hasattr(target, "__func__"):
            raise DispatcherTypeError(
                f"safeRef target {target!r} has __self__, but no __func__: methods written in C do not support weak "
                "references. Connect it with weak=False, or connect a function that calls it."
            )
        return BoundMethodWeakref(target, onDelete)
    return ref(target) if onDelete is None else ref(target, onDelete)


class BoundMethodWeakref:
    """A weak reference to a bound method's object and function, since each access makes a new method.

    Two are equal while they refer to the same method. `deletionMethods` are called once with this reference when the
    object or the function is gone. `selfName` is the name of the object's class.
    """

    __slots__ = ("__weakref__", "deletionMethods", "funcName", "key", "selfName", "weakFunc", "weakSelf")

    def __init__(self, target: Any, onDelete: Callable[[Any], object] | None = None) -> None:  # noqa: N803
        # The callback must not refer to this object strongly: the cycle would keep both alive.
        me = ref(self)

        def gone(_: object) -> None:
            reference = me()
            if reference is not None:
                reference._delete()

        owner, function = target.__self__, target.__func__
        self.deletionMethods = [] if onDelete is None else [onDelete]
        self.key = self.calculateKey(target)
        self.weakSelf: ReferenceType[Any] = ref(owner, gone)
        self.weakFunc: ReferenceType[Any] = ref(function, gone)
        self.selfName: str = type(owner).__name__
        self.funcName = str(getattr(function, "__name__", function))

    @classmethod
    def calculateKey(cls, target: Any) -> tuple[int, int]:  # noqa: N802
        return id(target.__self__), id(target.__func__)

    def _delete(self) -> None:
        callbacks, self.deletionMethods = self.deletionMethods, []
        for call in callbacks:
            try:
                call(self)
            except Exception:
                _logger.exception("%r raised when it was called for the deleted %r.", call, self)

    def __call__(self) -> Any:
        """The method, or None if its object or function is gone."""
        owner = self.weakSelf()
        function = self.weakFunc()
        return None if owner is None or function is None else function.__get__(owner)

    def __bool__(self) -> bool:
        return self() is not None

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, BoundMethodWeakref):
            return NotImplemented
        # Ids of dead objects are reused.
        return self.key == other.key and bool(self) and bool(other)

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}( {self.selfName}.{self.funcName} )"
