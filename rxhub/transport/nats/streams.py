"""The stream that holds a hub's events: how it is made, and what is asked of one that is there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.subject_filters import covers

__all__ = [
    "DUPLICATE_WINDOW",
    "NO_CONSUMER",
    "NO_MESSAGE",
    "NO_STREAM",
    "ConfigConflict",
    "JetStreamApi",
    "config_conflict",
    "dead_letter_config",
    "ensure_stream",
    "last_sequence",
    "server_time",
    "stream_config",
]

DUPLICATE_WINDOW = 20 * 60.0
"""Seconds for which a stream knows the ids of its messages: a second one of the same id is not stored."""

NO_STREAM = 10059
"""JetStream's number for "stream not found"."""

NO_CONSUMER = 10014
"""JetStream's number for "consumer not found"."""

NO_MESSAGE = 10037
"""JetStream's number for "no message found": there is none of this sequence or subject, or none any more."""

_NAME_IN_USE = 10058
_NO_CLUSTER = 10074
_NANOSECONDS = 1_000_000_000


class JetStreamApi(Protocol):
    """A line or a link, by which JetStream can be asked for something."""

    async def js_request(self, api: str, body: Mapping[str, Any] | None = None, timeout: float = 5.0) -> dict[str, Any]:
        """As `Line.ask`."""
        ...


def stream_config(
    name: str, *, replicas: int = 1, max_age: float = 0.0, max_bytes: int = -1, window: float = DUPLICATE_WINDOW
) -> dict[str, Any]:
    """The configuration of a stream of events, as JetStream takes it.

    Args:
        name: of the stream, with which all its subjects begin.
        replicas: on how many servers of a cluster each event is stored: 1, 3 or 5.
        max_age: seconds after which an event goes; 0 is never.
        max_bytes: how large the stream may become. A full one refuses events; none is dropped. -1 is no limit.
        window: seconds for which ids are known.
    """
    return {
        "name": name,
        "description": "Events of rxhub.",
        "subjects": [f"{name}.event.>", f"{name}.reply.>", f"{name}.retry.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "max_age": int(max_age * _NANOSECONDS),
        "max_bytes": max_bytes,
        "duplicate_window": int((min(window, max_age) if max_age else window) * _NANOSECONDS),
        "allow_direct": True,
    }


def dead_letter_config(name: str, *, replicas: int = 1) -> dict[str, Any]:
    """The configuration of the stream of dead letters of a stream of events."""
    return stream_config(name, replicas=replicas) | {
        "name": f"{name}-dead",
        "description": f"Dead letters of {name}.",
        "subjects": [f"{name}.dead.>"],
    }


async def ensure_stream(asking: JetStreamApi, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The information about a stream, which is made if it is not there; one that is there stays as it is.

    Args:
        asking: whom.
        wanted: the configuration. Of servers that are no cluster, each stores what it gets by itself.

    Returns:
        JetStream's information, with `config` and `state`.

    Raises:
        StreamError: if it cannot be made, or another stream has its subjects.
        HubConnectionError: if nobody answers, or the stream that is there cannot be used.
    """
    name = wanted["name"]
    try:
        found = await asking.js_request(f"STREAM.INFO.{name}")
    except StreamError as error:
        if error.number != NO_STREAM:
            raise
        found = await _create(asking, name, wanted)
    if (reason := config_conflict(found["config"], wanted)) is not None:
        raise HubConnectionError(f"{reason.found} {reason.remedy}")
    return found


class ConfigConflict(NamedTuple):
    """Why a stream cannot be used, and what to do; whole sentences."""

    found: str
    remedy: str


def config_conflict(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> ConfigConflict | None:
    """Why a stream that is there cannot stand for the one that is wanted; None if it can.

    Args:
        config: how it was made, by whomever.
        wanted: as `configuration` and its kin say.
    """
    name = wanted["name"]
    stored = frozenset(config.get("subjects") or ())
    missing = [subject for subject in wanted["subjects"] if not covers(stored, subject)]
    if missing:
        return ConfigConflict(
            f"The stream {name} was not made by rxhub: it does not store {', '.join(missing)}.",
            "Give the hub another stream=…, or add these subjects to it.",
        )
    if config.get("no_ack") or config.get("retention", "limits") != "limits":
        return ConfigConflict(
            f"The stream {name} was not made by rxhub: it is one that confirms nothing, or that forgets what somebody "
            "has read (no_ack, retention).",
            "Give the hub another stream=….",
        )
    return None


async def _create(asking: JetStreamApi, name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return await asking.js_request(f"STREAM.CREATE.{name}", wanted, timeout=10.0)
    except StreamError as refused:
        if refused.number == _NO_CLUSTER and wanted["num_replicas"] > 1:
            return await _create(asking, name, {**wanted, "num_replicas": 1})
        # Another hub was quicker; it may have asked for other limits.
        if refused.number != _NAME_IN_USE:
            raise
        return await asking.js_request(f"STREAM.INFO.{name}")


def server_time(info: Mapping[str, Any]) -> datetime:
    """The server's clock, as it answered; this machine's where the server is older than 2.10 and does not say.

    Args:
        info: JetStream's information about a stream or a consumer, just received.
    """
    said = info.get("ts")
    return datetime.now(UTC) if said is None else datetime.fromisoformat(said)


async def last_sequence(asking: JetStreamApi, name: str) -> int:
    """The sequence of the latest event of a stream; 0 if there was none."""
    return (await asking.js_request(f"STREAM.INFO.{name}"))["state"]["last_seq"]
