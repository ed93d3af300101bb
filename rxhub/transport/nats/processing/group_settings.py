"""The settings on which all processes of a group agree, as the metadata of its consumer, and where a group begins."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, NamedTuple, TypeAlias

__all__ = ["GroupSettings", "Since", "differences", "metadata_of", "settings_name", "start_config"]

Since: TypeAlias = datetime | timedelta | int | Literal["first"] | None
"""Where a group begins: a time, how long ago, a sequence of the stream, its first event; None is now."""

_PREFIX = "rxhub."
_MAX_VALUE_LENGTH = 2_000


class GroupSettings(NamedTuple):
    """The settings of a group."""

    subscription: str
    sequential: bool = False
    key: str | None = None
    once: bool = False

    def to_metadata(self, group: str) -> dict[str, str]:
        """The settings as metadata of a consumer."""
        order = "sequential" if self.sequential else f"key={self.key}" if self.key is not None else "none"
        return {
            f"{_PREFIX}group": settings_name(group),
            f"{_PREFIX}subscription": settings_name(self.subscription),
            f"{_PREFIX}order": settings_name(order),
            f"{_PREFIX}once": str(self.once).lower(),
        }


def metadata_of(config: Mapping[str, Any], *, ours: bool = True) -> dict[str, str]:
    """The metadata of a consumer: rxhub's settings, or with `ours=False` those of other programs."""
    metadata: Mapping[str, str] = config.get("metadata") or {}
    if ours:
        return {name: value for name, value in metadata.items() if name.startswith(_PREFIX)}
    return {name: value for name, value in metadata.items() if not name.startswith(("_nats", _PREFIX))}


def differences(present: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """The settings in `wanted` that differ from those in `present`, one per line."""
    return "\n".join(
        f"  {name.removeprefix(_PREFIX)}: {value}" + (f" (the group has: {present.get(name)})" if present else "")
        for name, value in wanted.items()
        if present.get(name) != value
    )


def settings_name(text: str) -> str:
    """A text of bounded length that is unique for each text."""
    if len(text) <= _MAX_VALUE_LENGTH:
        return text
    return f"{text[:_MAX_VALUE_LENGTH]}… sha256:{sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def start_config(since: Since, now: datetime | None = None) -> dict[str, Any]:
    """The fields of a consumer's configuration that say where it begins.

    `now`: the server's time; needed for a timedelta. Raises ValueError if `since` is not valid.
    """
    match since:
        case None:
            return {"deliver_policy": "new"}
        case "first":
            return {"deliver_policy": "all"}
        case bool():
            pass
        case int() if since > 0:
            return {"deliver_policy": "by_start_sequence", "opt_start_seq": since}
        case timedelta():
            try:
                return start_config((now or datetime.now(UTC)) - since)
            except OverflowError:
                return start_config("first")
        case datetime() if since.tzinfo is not None:
            return {"deliver_policy": "by_start_time", "opt_start_time": since.astimezone(UTC).isoformat()}
        case _:
            pass
    raise ValueError(
        'since must be an aware datetime, a timedelta (how long ago), a sequence of the stream from 1, or "first", but '
        f"{since!r} was given."
    )
