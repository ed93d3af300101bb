"""Calling a receiver with those of the named arguments that it accepts.

The rules are PyDispatcher's: names are taken from the code behind the receiver, so that a decorated one is as generous
as its outermost wrapper; parameters behind `*` are not offered anything, unless there is a `**` to take it all.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import CO_VARKEYWORDS
from types import CodeType
from typing import Any

__all__ = ["function", "robustApply"]


def function(receiver: Any) -> tuple[Callable[..., Any], CodeType, int]:
    """What is really called, its code, and 1 if its first argument is bound already, else 0.

    Raises:
        ValueError: if there is no Python code behind it, as behind a `functools.partial` or a builtin.
    """
    if hasattr(receiver, "__call__"):  # noqa: B004 - the attribute itself is what is called
        inner = receiver.__call__
        if hasattr(inner, "__func__") or hasattr(inner, "__code__"):
            receiver = inner
    if hasattr(receiver, "__func__"):
        return receiver, receiver.__func__.__code__, 1
    if hasattr(receiver, "__code__"):
        return receiver, receiver.__code__, 0
    raise ValueError(
        f"unknown reciever type {receiver} {type(receiver)}: there is no Python code behind it to take the names of "
        "its arguments from. Wrap it in a function or a lambda."
    )


def robustApply(receiver: Any, /, *arguments: Any, **named: Any) -> Any:  # noqa: N802 - PyDispatcher's name
    """Call `receiver` with the positional arguments and those of the named ones that it accepts.

    Returns:
        What the receiver returns.

    Raises:
        TypeError: if an argument is given by its place and by its name, or one that the receiver needs is missing.
        ValueError: if there is no Python code behind the receiver.
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
