"""How a receiver is called, read from its signature when it is connected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import CO_COROUTINE, CO_VARKEYWORDS, signature
from types import CodeType, FunctionType
from typing import Any, TypeAlias, cast

from rxhub.concurrency.awaitables import returns_awaitable
from rxhub.rx.scope import Scope

__all__ = ["OBSERVER", "PLAIN", "Receiver", "ReceiverSpec", "spec_of"]

Receiver: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class ReceiverSpec:
    """How a receiver is called.

    Attributes:
        where: the subscription, as given.
        matches: the subscription, compiled.
        wants_emission: whether the receiver has a parameter `emission`.
        is_async: whether the receiver is a coroutine function.
        is_observer: whether the receiver is the entry of a pipeline, called with the emission alone.
        owner: the scope that it belongs to.
        leave: disconnects it, for the scope.
    """

    where: str | None = None
    matches: Callable[[Mapping[str, Any]], bool] | None = None
    wants_emission: bool = False
    is_async: bool = False
    is_observer: bool = False
    owner: Scope | None = None
    leave: Callable[[], object] | None = None

    @property
    def plain(self) -> bool:
        """Whether the receiver is merely called with the kwargs."""
        return self.matches is None and not (self.wants_emission or self.is_async or self.is_observer)


PLAIN = ReceiverSpec()
OBSERVER = ReceiverSpec(is_observer=True)
_KINDS = CO_VARKEYWORDS | CO_COROUTINE
_WANTING_EMISSION, _ASYNC, _ASYNC_WANTING_EMISSION = (
    ReceiverSpec(wants_emission=True),
    ReceiverSpec(is_async=True),
    ReceiverSpec(wants_emission=True, is_async=True),
)


def spec_of(receiver: Receiver) -> ReceiverSpec:
    """How a receiver is called; TypeError if it cannot be, or takes neither `**kwargs` nor `signal` and `sender`."""
    if type(receiver) is FunctionType:
        code = receiver.__code__
        if (
            code.co_flags & _KINDS == CO_VARKEYWORDS
            and "emission" not in code.co_varnames
            and code.co_name is receiver.__name__  # else it is a wrapper
        ):
            return PLAIN  # as nearly every receiver is
    if not callable(receiver):
        raise TypeError(f"A receiver is called with signal=, sender= and **kwargs, but {receiver!r} cannot be called.")
    function: Any = receiver
    while type(function) is partial:
        function = function.func
    code = _code(function)
    if code is None:
        return _ASYNC if returns_awaitable(receiver) else PLAIN
    names = code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
    # Not for partials, whose arguments would have to be subtracted. This only reports early what each send would.
    if not code.co_flags & CO_VARKEYWORDS and function is receiver:
        for name in ("signal", "sender"):
            if name not in names:
                raise TypeError(
                    f"{receiver!r} takes no {name}=, with which every receiver is called. "
                    "Give it a parameter **kwargs for what it does not use."
                )
    wants_emission = _wants_emission(receiver, names)
    if returns_awaitable(receiver):
        return _ASYNC_WANTING_EMISSION if wants_emission else _ASYNC
    return _WANTING_EMISSION if wants_emission else PLAIN


def _wants_emission(receiver: Any, names: tuple[str, ...]) -> bool:
    """Whether there is a parameter `emission`, also behind a wrapper, that a partial has not filled."""
    wraps: bool = type(getattr(receiver, "__wrapped__", None)) is FunctionType
    if type(receiver) is not partial and not wraps:
        return "emission" in names
    try:
        parameter = signature(cast("Receiver", receiver)).parameters.get("emission")
    except (TypeError, ValueError):
        return False
    return (
        parameter is not None
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and (wraps or "emission" not in receiver.keywords)
    )


def _code(function: Any) -> CodeType | None:
    """The code of a function, a method, a class's constructor or an object's `__call__`; None for a builtin."""
    # A mock has every attribute.
    code = getattr(function, "__code__", None)
    if type(code) is not CodeType:
        call = function.__init__ if isinstance(function, type) else type(function).__call__
        code = getattr(call, "__code__", None)
    return code if type(code) is CodeType else None
