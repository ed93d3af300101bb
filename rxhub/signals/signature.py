"""The payload of a signal, as a signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, get_type_hints, is_typeddict

__all__ = ["mismatch", "payload_class", "payload_names", "with_payload"]


def with_payload(method: Callable[..., Any], payload: Callable[..., object]) -> Callable[..., Any]:
    """The same function or bound method with the parameters of `payload` as its signature, in place of `**named`."""
    plain = method.__func__ if isinstance(method, MethodType) else method
    if not isinstance(plain, FunctionType):
        raise TypeError(f"{plain!r} is not a method written in Python.")
    twin = FunctionType(plain.__code__, plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__)
    twin.__kwdefaults__, twin.__doc__, twin.__qualname__ = plain.__kwdefaults__, plain.__doc__, plain.__qualname__
    first, *own = [p for p in inspect.signature(plain).parameters.values() if p.kind is not p.VAR_KEYWORD]
    parameters = _parameters(payload)
    if taken := {p.name for p in parameters} & {"signal", *[p.name for p in own]}:
        raise TypeError(
            f"{payload!r} cannot be sent: {' and '.join(sorted(taken))} is passed to every receiver anyway. Rename it."
        )
    # A payload may have a parameter `self`.
    signature = inspect.Signature([first.replace(name="_signal_"), *own, *parameters])
    twin.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return MethodType(twin, method.__self__) if isinstance(method, MethodType) else twin


def payload_class(kind: type[Any], payload: Callable[..., object]) -> type[Any]:
    """A subclass of a signal's class whose methods have the signature of `payload`.

    Methods on the signal itself would refer to it, and only the garbage collector could free it.
    """
    names: dict[str, Any] = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    for name in ("send", "send_robust", "asend", "asend_robust"):
        names[name] = with_payload(getattr(kind, name), payload)
    metaclass: Any = type(kind)
    return metaclass(kind.__name__, (kind,), names)


def _parameters(payload: Callable[..., object]) -> list[inspect.Parameter]:
    if is_typeddict(payload):
        required: frozenset[str] = vars(payload)["__required_keys__"]
        keyword, empty = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
        return [
            inspect.Parameter(name, keyword, annotation=kind, default=empty if name in required else ...)
            for name, kind in get_type_hints(payload).items()
        ]
    try:
        parameters = inspect.signature(payload).parameters.values()
    except (TypeError, ValueError) as error:
        raise TypeError(f"{payload!r} cannot be a payload, since it has no signature: {error}") from error
    return [
        parameter if parameter.kind is parameter.VAR_KEYWORD else parameter.replace(kind=parameter.KEYWORD_ONLY)
        for parameter in parameters
        if parameter.kind is not parameter.VAR_POSITIONAL
    ]


def payload_names(payload: Callable[..., object]) -> list[str] | None:
    """The names of the parameters of a payload; None if it has `**kwargs`."""
    parameters = _parameters(payload)
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else [p.name for p in parameters]


def mismatch(receiver: Callable[..., object], payload: Callable[..., object]) -> str:
    """Why a receiver cannot be called with a payload; empty if it can, or has no signature."""
    try:
        taken = inspect.signature(receiver).parameters.values()
    except (TypeError, ValueError):
        return ""
    sent = _parameters(payload)
    names = {"signal", "sender", "emission"} | {p.name for p in sent}
    takes_all = any(p.kind is p.VAR_KEYWORD for p in taken)
    by_name = {p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    refused = [] if takes_all else [p.name for p in sent if p.name not in by_name and p.kind is not p.VAR_KEYWORD]
    if refused:
        return f"it takes no {', '.join(refused)}"
    optional = {p.name for p in sent if p.default is not p.empty}
    required = [
        p.name
        for p in taken
        if p.default is p.empty
        and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        and (p.name not in names or p.name in optional or p.kind is p.POSITIONAL_ONLY)
    ]
    any_name = any(p.kind is p.VAR_KEYWORD for p in sent)
    if required and not any_name:
        return f"it requires {', '.join(required)}, which is not sent, or not always"
    return ""
