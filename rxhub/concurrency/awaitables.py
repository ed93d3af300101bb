"""Awaitable results of callbacks.

Whatever `inspect.isawaitable` accepts is awaited, except observables, which are values here: awaiting one that never
completes would never end. Hubs also wait for a `concurrent.futures.Future`, such as an executor's `submit` returns: an
event is handled when the work is done. Signals return such a future to the sender, as Django's do.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Coroutine
from concurrent.futures import Future
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, TypeGuard, cast

from reactivex import Observable

__all__ = [
    "as_coroutine",
    "await_",
    "check_was_run",
    "discard",
    "ignore_error",
    "is_generator_function",
    "is_unfinished",
    "needs_await",
    "returns_awaitable",
]

# What most callbacks return; checked first since that is cheap.
_VALUES = frozenset({bool, bytes, dict, float, int, list, set, str, tuple, type(None)})
# Until Python 3.14, asyncio and `unittest.mock.AsyncMock` mark coroutine functions with this.
_MARK: object = getattr(asyncio.coroutines, "_is_coroutine", object())


def needs_await(result: object) -> TypeGuard[Awaitable[Any]]:
    """Whether the result of a callback has to be awaited."""
    kind = type(result)
    if kind is CoroutineType:
        return True
    return kind not in _VALUES and inspect.isawaitable(result) and not isinstance(result, Observable)


def is_unfinished(result: object) -> TypeGuard[Awaitable[Any] | Future[Any]]:
    """Whether a hub has to wait for the result of a callback: it is awaitable, or a future of an executor."""
    return type(result) not in _VALUES and (isinstance(result, Future) or needs_await(result))


def check_was_run(result: object) -> None:
    """Refuse a generator: a callback with a `yield` runs only when its result is iterated over."""
    if isinstance(result, (GeneratorType, AsyncGeneratorType)):
        raise TypeError(
            f"The callback returned a generator ({result.__qualname__}), of which nothing was run: a function with a "
            "`yield` runs only when its result is iterated. Return a value or a list instead."
        )


def returns_awaitable(function: Any) -> bool:
    """Whether a callback is declared as a coroutine function.

    True of coroutine functions and methods, objects whose `__call__` is one, `AsyncMock`, functions marked by
    `inspect.markcoroutinefunction`, and `functools.partial` of these.
    """
    while isinstance(function, partial):
        function = cast("partial[Any]", function).func
    return (
        inspect.iscoroutinefunction(function)
        or getattr(function, "_is_coroutine", None) is _MARK
        or inspect.iscoroutinefunction(getattr(cast("type[Any]", type(function)), "__call__", None))  # noqa: B004
    )


def is_generator_function(function: object) -> bool:
    """Whether a function is a generator function, so that a call runs nothing of it, and not a coroutine function."""
    while isinstance(function, partial):
        function = cast("partial[Any]", function).func
    if inspect.isasyncgenfunction(function):
        return True
    # `types.coroutine` marks generator functions whose generators are awaitable.
    return inspect.isgeneratorfunction(function) and not function.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE


def as_coroutine(awaitable: Awaitable[Any] | Future[Any]) -> Coroutine[Any, Any, Any]:
    """A coroutine that returns the result of the awaitable: the awaitable itself, if it is one."""
    return cast("Any", awaitable) if type(awaitable) is CoroutineType else await_(awaitable)


def discard(awaitable: Awaitable[Any]) -> None:
    """Drop an awaitable: close a coroutine that has not begun. Tasks and futures go on."""
    if inspect.iscoroutine(awaitable) and inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED:
        awaitable.close()


def ignore_error(future: asyncio.Future[Any]) -> None:
    """Keep asyncio from reporting the error of a future whose result is not read."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())


async def await_(awaitable: Awaitable[Any] | Future[Any]) -> Any:
    """Await it. A task of this coroutine that is cancelled before its first step does not touch the awaitable."""
    return await (asyncio.wrap_future(awaitable) if isinstance(awaitable, Future) else awaitable)
