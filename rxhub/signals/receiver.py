"""How a receiver is called, read from its signature when it is connected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import CO_COROUTINE, CO_VARKEYWORDS, Parameter, isbuiltin, signature
from types import FunctionType, MethodType
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
# By whether a receiver wants the emission, and whether it is asynchronous.
_SPECS = {
    (wants, awaits): ReceiverSpec(wants_emission=wants, is_async=awaits) if wants or awaits else PLAIN
    for wants in (False, True)
    for awaits in (False, True)
}


def spec_of(receiver: Receiver) -> ReceiverSpec:
    """How a receiver is called; TypeError if it cannot be, or takes neither `**kwargs` nor `signal` and `sender`."""
    function: Any = receiver.__func__ if isinstance(receiver, MethodType) else receiver
    if type(function) is FunctionType:
        code = function.__code__
        if (
            code.co_flags & CO_VARKEYWORDS
            and "emission" not in code.co_varnames
            and code.co_name is function.__name__  # else it is a wrapper
        ):
            return _SPECS[False, bool(code.co_flags & CO_COROUTINE)]  # nearly every receiver is plain
    if not callable(receiver):
        raise TypeError(f"A receiver is called with signal=, sender= and **kwargs, but {receiver!r} cannot be called.")
    if isbuiltin(receiver):
        return PLAIN
    try:
        own = signature(receiver, follow_wrapped=False).parameters
        emission = signature(receiver).parameters.get("emission")  # also behind a wrapper
    except Exception:  # it has none
        return _SPECS[False, returns_awaitable(receiver)]
    filled: Mapping[str, Any] | None = cast("Any", receiver).keywords if type(receiver) is partial else None
    # Not for partials, whose arguments would have to be subtracted. This only reports early what each send would.
    if filled is None and not any(each.kind is each.VAR_KEYWORD for each in own.values()):
        for name in ("signal", "sender"):
            if name not in own or own[name].kind is Parameter.POSITIONAL_ONLY:
                raise TypeError(
                    f"{receiver!r} takes no {name}=, with which every receiver is called. "
                    "Give it a parameter **kwargs for what it does not use."
                )
    named = emission is not None and emission.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return _SPECS[named and "emission" not in (filled or ()), returns_awaitable(receiver)]
