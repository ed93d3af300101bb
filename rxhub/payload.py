"""What a signal carries, for people, type checkers and `inspect`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, is_typeddict

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
    own = [p for p in inspect.signature(plain).parameters.values() if p.kind is not p.VAR_KEYWORD]
    signature = inspect.Signature([*own, *_parameters(payload)])
    twin.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return MethodType(twin, method.__self__)


def _parameters(payload: Callable[..., object]) -> list[inspect.Parameter]:
    if is_typeddict(payload):
        return [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind)
            for name, kind in inspect.get_annotations(payload).items()
        ]
    return [
        parameter if parameter.kind is parameter.VAR_KEYWORD else parameter.replace(kind=parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(payload).parameters.values()
        if parameter.kind is not parameter.VAR_POSITIONAL
    ]
