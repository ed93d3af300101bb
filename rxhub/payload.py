"""What a signal carries, for people, type checkers and `inspect`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, get_type_hints, is_typeddict

__all__ = ["declared"]


def declared(method: Callable[..., Any], payload: Callable[..., object]) -> Callable[..., Any]:
    """The same bound method, for which `inspect.signature` tells the parameters of `payload` in place of `**named`.

    Raises:
        TypeError: if `payload` has no signature to be read.
    """
    if not isinstance(method, MethodType):
        raise TypeError(f"{method!r} is no bound method.")
    plain = method.__func__
    if not isinstance(plain, FunctionType):
        raise TypeError(f"{method!r} is no method that is written in Python.")
    twin = FunctionType(plain.__code__, plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__)
    twin.__kwdefaults__, twin.__doc__, twin.__qualname__ = plain.__kwdefaults__, plain.__doc__, plain.__qualname__
    first, *own = [p for p in inspect.signature(plain).parameters.values() if p.kind is not p.VAR_KEYWORD]
    parameters = _parameters(payload)
    if taken := {p.name for p in parameters} & {"signal", *[p.name for p in own]}:
        raise TypeError(
            f"{payload!r} cannot be sent: {' and '.join(sorted(taken))} is passed to every receiver anyway. Rename it."
        )
    # Under a name that no payload has: `self` may be sent.
    signature = inspect.Signature([first.replace(name="_signal_"), *own, *parameters])
    twin.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return MethodType(twin, method.__self__)


def _parameters(payload: Callable[..., object]) -> list[inspect.Parameter]:
    if is_typeddict(payload):
        required: frozenset[str] = vars(payload)["__required_keys__"]
        return [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=kind,
                default=inspect.Parameter.empty if name in required else ...,
            )
            for name, kind in get_type_hints(payload).items()
        ]
    try:
        parameters = inspect.signature(payload).parameters.values()
    except (TypeError, ValueError) as error:
        raise TypeError(f"{payload!r} cannot tell what is sent, since it has no signature: {error}") from error
    return [
        parameter if parameter.kind is parameter.VAR_KEYWORD else parameter.replace(kind=parameter.KEYWORD_ONLY)
        for parameter in parameters
        if parameter.kind is not parameter.VAR_POSITIONAL
    ]
