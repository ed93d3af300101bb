"""The streams of a NATS system, and the groups that process them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from rxhub.errors import StreamError
from rxhub.transport.durable import GroupState, StreamState
from rxhub.transport.nats.streams import NO_STREAM, JetStreamApi

__all__ = ["stream_states"]

_NANOSECONDS = 1_000_000_000


async def stream_states(asking: JetStreamApi) -> tuple[StreamState, ...]:
    """The streams of events by name. Other streams of the system are left out."""
    every = {info["config"]["name"]: info async for info in _pages(asking, "STREAM.LIST", "streams")}
    ours = sorted(name for name, info in every.items() if f"{name}.event.>" in (info["config"].get("subjects") or ()))
    return tuple([_state(every[name], every.get(f"{name}-dead"), await _groups(asking, name)) for name in ours])


def _state(info: dict[str, Any], dead: dict[str, Any] | None, groups: tuple[GroupState, ...]) -> StreamState:
    config, state = info["config"], info["state"]
    is_empty = not state["messages"]
    return StreamState(
        config["name"],
        state["messages"],
        state["bytes"],
        None if is_empty else _time(state["first_ts"]),
        None if is_empty else _time(state["last_ts"]),
        state["first_seq"],
        state["last_seq"],
        config["num_replicas"],
        config["max_age"] / _NANOSECONDS,
        config["max_bytes"],
        0 if dead is None else dead["state"]["messages"],
        groups,
    )


async def _groups(asking: JetStreamApi, stream: str) -> tuple[GroupState, ...]:
    try:
        found = [info async for info in _pages(asking, f"CONSUMER.LIST.{stream}", "consumers")]
    except StreamError as error:
        if error.number != NO_STREAM:
            raise
        return ()  # it was deleted since
    return tuple(
        sorted(
            GroupState(_name(info), info["num_pending"], info["num_ack_pending"], info["num_redelivered"], _limit(info))
            for info in found
            if info["config"].get("durable_name")
        )
    )


def _limit(info: dict[str, Any]) -> int | None:
    limit: int = info["config"].get("max_ack_pending", 0)
    return limit if limit > 0 else None


def _name(info: dict[str, Any]) -> str:
    config = info["config"]
    known: dict[str, str] = config.get("metadata") or {}
    return known.get("rxhub.group") or config["durable_name"]


async def _pages(asking: JetStreamApi, api: str, what: str) -> AsyncIterator[dict[str, Any]]:
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


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
