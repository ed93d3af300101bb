"""The options of `hub.process`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from sys import float_info
from typing import Any

from rxhub.concurrency.backoff import exponential_delay
from rxhub.expression import parse
from rxhub.transport.nats.processing.group import MAX_WAITING
from rxhub.transport.nats.processing.group_settings import GroupSettings, Since

__all__ = ["MAX_DELAY_S", "RetryPolicy", "WorkerOptions", "parse_options"]

MAX_DELAY_S = 300.0
"""Maximum delay between two attempts, unless `backoff` is longer."""

# Each handler may have a thread.
_MAX_CONCURRENCY = 1_000
_FINITE = float_info.max


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a process retries failed events."""

    retries: int = 5
    backoff: float = 1.0

    def is_last(self, attempt: int) -> bool:
        """Whether no attempt follows this one; the first is 1."""
        return attempt > self.retries

    def delay(self, attempt: int) -> float:
        """Seconds to wait after a failed attempt, reduced at random by up to a half."""
        return exponential_delay(self.backoff, max(MAX_DELAY_S, self.backoff), attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What a process does in its group. See `rxhub.transport.durable.ProcessOptions` for the other attributes."""

    group: str
    settings: GroupSettings
    retry: RetryPolicy
    timeout: float | None
    concurrency: int
    max_waiting: int
    since: Since
    replace: bool


def parse_options(
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
    max_waiting: int = MAX_WAITING,
    since: Since = None,
    replace: bool = False,
) -> WorkerOptions:
    """Check the options of `hub.process`.

    Raises ExpressionError if the subscription does not parse, ValueError if an option is out of range, or two options
    exclude each other, TypeError if the subscription, the group or the key is not a string.
    """
    for name, text in (("subscription", subscription), ("group", group), ("key", "key" if key is None else key)):
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a string, but {text!r} was given.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name} contains half of a character (a lone surrogate): {text!a}.") from None
    if not group.strip():
        raise ValueError("group must not be empty. Processes with the same group share events: group='ingest'.")
    if key is not None and not all(key.split(".")):
        raise ValueError(f"key must be a dotted path such as data.entities.entityId, but {key!r} was given.")
    _check_number("retries", retries, int, 0)
    _check_number("concurrency", concurrency, int, 1, _MAX_CONCURRENCY)
    _check_number("max_waiting", max_waiting, int, 1)
    _check_number("backoff", backoff, (int, float), 0)
    if timeout is not None:
        _check_number("timeout", timeout, (int, float), 0)
        if not timeout:
            raise ValueError("timeout must be more than 0 seconds, or None for no limit.")
    if sequential and (key is not None or concurrency > 1):
        raise ValueError(
            "sequential=True handles one event at a time in the whole group, and excludes key=… and concurrency=…. To "
            "handle events of different keys at the same time, use key=… without sequential=True."
        )
    return WorkerOptions(
        group=group,
        # Normalized, so that processes agree even if they write the subscription differently.
        settings=GroupSettings(str(parse(subscription)), sequential, key, once),
        retry=RetryPolicy(retries, backoff),
        timeout=timeout,
        concurrency=concurrency,
        max_waiting=max_waiting,
        since=since,
        replace=replace,
    )


def _check_number(name: str, value: Any, kinds: Any, least: float, most: float = _FINITE) -> None:
    # NaN fails both comparisons.
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        limits = f"of at least {least:g}" if most == _FINITE else f"from {least:g} to {most:,}"
        raise ValueError(f"{name} must be a number {limits}, but {value!r} was given.")
