"""Call a receiver with the named arguments that it accepts.

As in PyDispatcher, names come from the receiver's code object. A decorated receiver accepts what its outermost wrapper
accepts, and keyword-only parameters get nothing unless there is a `**` parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import CO_VARKEYWORDS
from types import CodeType
from typing import Any

__all__ = ["function", "robustApply"]


def function(receiver: Any) -> tuple[Callable[..., Any], CodeType, int]:
    """The called function, its code, and 1 if its first argument is bound, else 0; ValueError if it has no code."""
    if hasattr(receiver, "__call__"):  # noqa: B004 - the attribute itself is what is called
        inner = receiver.__call__
        if hasattr(inner, "__func__") or hasattr(inner, "__code__"):
            receiver = inner
    if hasattr(receiver, "__func__"):
        return receiver, receiver.__func__.__code__, 1
    if hasattr(receiver, "__code__"):
        return receiver, receiver.__code__, 0
    raise ValueError(
        f"unknown reciever type {receiver} {type(receiver)}: it has no code object that names its arguments. "
        "Wrap it in a function or a lambda."
    )


def robustApply(receiver: Any, /, *arguments: Any, **named: Any) -> Any:  # noqa: N802 - PyDispatcher's name
    """Call `receiver` with the positional arguments and the named arguments that it accepts.

    Raises:
        TypeError: if an argument is given by position and by name, or a required one is missing.
        ValueError: if the receiver has no code object.
    """
    called, code, bound = function(receiver)
    given = bound + len(arguments)
    for name in code.co_varnames[bound:given]:
        if name in named:
            raise TypeError(
                f"Argument {name!r} specified both positionally and as a keyword for calling {called!r}. Give it once."
            )
    if not code.co_flags & CO_VARKEYWORDS:
        acceptable = code.co_varnames[given : code.co_argcount]
        named = {name: value for name, value in named.items() if name in acceptable}
    return called(*arguments, **named)
