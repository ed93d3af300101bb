"""What a process does in its group: the arguments of `hub.process`, checked."""

from __future__ import annotations

from sys import float_info
from typing import Any, NamedTuple

from rxhub.expression import parse
from rxhub.transport.nats.processing.group import GroupSettings
from rxhub.transport.nats.processing.retry_policy import RetryPolicy

__all__ = ["WorkerOptions", "made"]


# Each may have a thread of its own.
_MOST_HANDLERS = 1_000
_FINITE = float_info.max


class WorkerOptions(NamedTuple):
    """The share of one process.

    Attributes:
        group: its name.
        terms: what all processes of the group agree on.
        retrying: how often this one tries.
        timeout: seconds for which a handler may run; None is for ever.
        concurrency: how many handlers may run at a time in this process.
        max_waiting: how many events the group may have under way if it orders by key.
    """

    group: str
    terms: GroupSettings
    retrying: RetryPolicy
    timeout: float | None
    concurrency: int
    max_waiting: int


def made(
    subscription: str,
    *,
    group: str,
    retries: int = 5,
    backoff: float = 1.0,
    timeout: float | None = None,
    sequential: bool = False,
    concurrency: int = 1,
    key: str | None = None,
    once: bool = False,
    max_waiting: int = 100_000,
) -> WorkerOptions:
    """The plan of these arguments; see `hub.process`.

    Raises:
        ExpressionError: if the subscription does not parse.
        ValueError: if one of them is out of range, or two exclude each other.
        TypeError: if the name of the group or the key is no text.
    """
    for name, text in (("subscription", subscription), ("group", group), ("key", "key" if key is None else key)):
        if not isinstance(text, str):
            raise TypeError(f"{name} is a text, but {text!r} was given.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name} has half of a character in it (a lone surrogate): {text!a}.") from None
    if not group.strip():
        raise ValueError("A group has a name, such as group='ingest': its processes share the events.")
    if key is not None and not all(key.split(".")):
        raise ValueError(f"A key is a dotted path such as data.entities.entityId, but {key!r} was given.")
    _check_number("retries", retries, int, 0)
    _check_number("concurrency", concurrency, int, 1, _MOST_HANDLERS)
    _check_number("max_waiting", max_waiting, int, 1)
    _check_number("backoff", backoff, (int, float), 0)
    if timeout is not None:
        _check_number("timeout", timeout, (int, float), 0)
        if not timeout:
            raise ValueError("timeout=0 would let no handler run; timeout=None is without an end.")
    if sequential and (key is not None or concurrency > 1):
        raise ValueError(
            "sequential=True is one event at a time in the whole group, so it goes with neither key=… nor "
            "concurrency=…. With key=… alone, events of different keys run at the same time."
        )
    return WorkerOptions(
        group,
        # Written as it is read, so that processes agree however they have written it.
        GroupSettings(str(parse(subscription)), sequential, key, once),
        RetryPolicy(retries, backoff),
        timeout,
        concurrency,
        max_waiting,
    )


def _check_number(name: str, value: Any, kinds: Any, least: float, most: float = _FINITE) -> None:
    # Not a number is not at least anything.
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        end = "on" if most == _FINITE else f"to {most:,}"
        raise ValueError(f"{name} is a number from {least:g} {end}, but {value!r} was given.")
