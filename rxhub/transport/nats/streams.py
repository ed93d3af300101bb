"""The streams that store events: their configuration, creation and state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.durable import GroupState, StreamState
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.subject_filters import covers

__all__ = [
    "DUPLICATE_WINDOW",
    "NO_CONSUMER",
    "NO_MESSAGE",
    "NO_STREAM",
    "ConfigConflict",
    "JetStreamApi",
    "StreamRestorer",
    "config_conflict",
    "dead_letter_config",
    "ensure_stream",
    "group_state",
    "last_sequence",
    "pages",
    "server_time",
    "stream_config",
    "stream_states",
]

DUPLICATE_WINDOW = 20 * 60.0  # how long, in seconds, a stream detects duplicates by message id
NO_STREAM = 10059  # JetStream's error number for "stream not found"
NO_CONSUMER = 10014  # JetStream's error number for "consumer not found"
NO_MESSAGE = 10037  # JetStream's error number for "no message found"
_NAME_IN_USE = 10058
_NO_CLUSTER = 10074
_NANOSECONDS = 1_000_000_000


class JetStreamApi(Protocol):
    """Sends JetStream API requests: a `NatsConnection` or a `ReconnectingClient`."""

    async def js_request(self, api: str, body: Mapping[str, Any] | None = None, timeout: float = 5.0) -> dict[str, Any]:
        """As `NatsConnection.js_request`."""
        ...


def stream_config(
    name: str, *, replicas: int = 1, max_age: float = 0.0, max_bytes: int = -1, window: float = DUPLICATE_WINDOW
) -> dict[str, Any]:
    """The configuration of a stream of events; `name` is the first token of all its subjects.

    `max_age`: seconds after which an event is deleted; 0 keeps it. `max_bytes`: a full stream rejects new events; -1 is
    unlimited. `window`: seconds in which duplicates are detected.
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
    """JetStream's information about a stream, which is created if it does not exist, but not changed.

    Servers that do not form a cluster store one replica. Raises StreamError if another stream has its subjects,
    HubConnectionError if the stream that exists cannot be used.
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
    """Why an existing stream cannot be used, and what to do, in whole sentences."""

    found: str
    remedy: str


def config_conflict(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> ConfigConflict | None:
    """Why an existing stream cannot be used in place of the wanted one; None if it can."""
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
    """The server's clock, as it answered; this machine's where the server is older than 2.10 and does not say."""
    said = info.get("ts")
    return datetime.now(UTC) if said is None else datetime.fromisoformat(said)


async def last_sequence(asking: JetStreamApi, name: str) -> int:
    """The sequence of the latest event of a stream; 0 if there was none."""
    return (await asking.js_request(f"STREAM.INFO.{name}"))["state"]["last_seq"]


class StreamRestorer:
    """Recreates streams that a restarted server has lost (`rxhub.transport.nats.reconnecting.ConnectionTask`)."""

    def __init__(self, *wanted: Mapping[str, Any]) -> None:
        self._wanted = wanted

    async def run(self, line: NatsConnection) -> None:
        """Once for each connection: a stream that is deleted later is not recreated before the next one."""
        for each in self._wanted:
            await ensure_stream(line, each)
        # A task that returns would not run on the next connection.
        await asyncio.get_running_loop().create_future()


async def stream_states(asking: JetStreamApi) -> tuple[StreamState, ...]:
    """The streams of events by name. Other streams of the system are left out."""
    every = {info["config"]["name"]: info async for info in pages(asking, "STREAM.LIST", "streams")}
    ours = sorted(name for name, info in every.items() if f"{name}.event.>" in (info["config"].get("subjects") or ()))
    return tuple([_state(every[name], every.get(f"{name}-dead"), await _groups(asking, name)) for name in ours])


def _state(info: dict[str, Any], dead: dict[str, Any] | None, groups: tuple[GroupState, ...]) -> StreamState:
    config, state = info["config"], info["state"]
    is_empty = not state["messages"]
    return StreamState(
        config["name"],
        state["messages"],
        state["bytes"],
        None if is_empty else datetime.fromisoformat(state["first_ts"]),
        None if is_empty else datetime.fromisoformat(state["last_ts"]),
        state["first_seq"],
        state["last_seq"],
        config["num_replicas"],
        config["max_age"] / _NANOSECONDS,
        config["max_bytes"],
        0 if dead is None else dead["state"]["messages"],
        groups,
        config.get("discard", "old"),
    )


async def _groups(asking: JetStreamApi, stream: str) -> tuple[GroupState, ...]:
    try:
        found = [info async for info in pages(asking, f"CONSUMER.LIST.{stream}", "consumers")]
    except StreamError as error:
        if error.number != NO_STREAM:
            raise
        return ()  # it was deleted since
    return tuple(sorted(group_state(info) for info in found if info["config"].get("durable_name")))


def group_state(info: Mapping[str, Any]) -> GroupState:
    """A group, from JetStream's information about its consumer."""
    config = info["config"]
    metadata: dict[str, str] = config.get("metadata") or {}
    name = metadata.get("rxhub.group") or config["durable_name"]
    limit: int = config.get("max_ack_pending", 0)
    return GroupState(
        name,
        info["num_pending"],
        info["num_ack_pending"],
        info["num_redelivered"],
        limit if limit > 0 else None,
        info.get("paused", False),
        info.get("num_waiting", 0) > 0,
    )


async def pages(asking: JetStreamApi, api: str, what: str) -> AsyncIterator[dict[str, Any]]:
    """All entries of a paged JetStream list."""
    seen = 0
    while True:
        page = await asking.js_request(api, {"offset": seen})
        entries: list[dict[str, Any]] = page.get(what) or []
        for entry in entries:
            yield entry
        seen += len(entries)
        if not entries or seen >= page["total"]:
            return
