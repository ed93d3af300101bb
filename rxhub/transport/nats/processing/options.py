"""The options of `hub.process`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from sys import float_info
from typing import Any, Literal, TypeAlias

from rxhub.concurrency.backoff import exponential_delay
from rxhub.expression import parse

__all__ = ["MAX_DELAY_S", "RetryPolicy", "Since", "WorkerOptions"]

MAX_DELAY_S = 300.0  # maximum delay between two attempts, unless `backoff` is longer
# Where a group begins: a time, how long ago, a sequence of the stream, its first event; None is now.
Since: TypeAlias = datetime | timedelta | int | Literal["first"] | None
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


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What a process does in its group; `rxhub.transport.durable.ProcessOptions` describes the attributes.

    Raises ExpressionError if the subscription does not parse, ValueError if an option is out of range, or two options
    exclude each other, TypeError if the subscription, the group or the key is not a string.
    """

    subscription: str
    group: str
    retries: int = 5
    backoff: float = 1.0
    timeout: float | None = None
    sequential: bool = False
    concurrency: int = 1
    key: str | None = None
    once: bool = False
    # Groups without a key are not limited: an event that waits for a retry uses about 250 bytes in the NATS server, and
    # nothing in the process.
    max_waiting: int = 100_000
    since: Since = None
    replace: bool = False

    def __post_init__(self) -> None:
        key = self.key
        texts = {"subscription": self.subscription, "group": self.group, "key": "key" if key is None else key}
        for name, text in texts.items():
            if not isinstance(text, str):
                raise TypeError(f"{name} must be a string, but {text!r} was given.")
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{name} contains half of a character (a lone surrogate): {text!a}.") from None
        if not self.group.strip():
            raise ValueError("group must not be empty. Processes with the same group share events: group='ingest'.")
        if key is not None and not all(key.split(".")):
            raise ValueError(f"key must be a dotted path such as data.entities.entityId, but {key!r} was given.")
        _check_number("retries", self.retries, int, 0)
        _check_number("concurrency", self.concurrency, int, 1, _MAX_CONCURRENCY)
        _check_number("max_waiting", self.max_waiting, int, 1)
        _check_number("backoff", self.backoff, (int, float), 0)
        if self.timeout is not None:
            _check_number("timeout", self.timeout, (int, float), 0)
            if not self.timeout:
                raise ValueError("timeout must be more than 0 seconds, or None for no limit.")
        if self.sequential and (key is not None or self.concurrency > 1):
            raise ValueError(
                "sequential=True handles one event at a time in the whole group, and excludes key=… and concurrency=…. "
                "To handle events of different keys at the same time, use key=… without sequential=True."
            )
        # Normalized, so that processes agree even if they write the subscription differently.
        object.__setattr__(self, "subscription", str(parse(self.subscription)))

    @property
    def retry(self) -> RetryPolicy:
        return RetryPolicy(self.retries, self.backoff)


def _check_number(name: str, value: Any, kinds: Any, least: float, most: float = _FINITE) -> None:
    # NaN fails both comparisons.
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        limits = f"of at least {least:g}" if most == _FINITE else f"from {least:g} to {most:,}"
        raise ValueError(f"{name} must be a number {limits}, but {value!r} was given.")
