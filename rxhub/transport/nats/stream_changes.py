"""Change the limits of streams, purge them and remove them, and determine beforehand what that deletes.

The methods of `rxhub.transport.nats.administration.Streams`, for the event loop of a connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Unpack

from rxhub.errors import NotFoundError, StreamError
from rxhub.transport.durable import Loss, Moment, StreamLimits, StreamState
from rxhub.transport.nats.positions import count_from, first_after, first_since, last_before, next_stored
from rxhub.transport.nats.streams import (
    DUPLICATE_WINDOW,
    NO_STREAM,
    JetStreamApi,
    pages,
    server_time,
    stream_states,
)
from rxhub.transport.nats.subjects import REPLY, Subjects

__all__ = ["StreamChanges"]

_NANOSECONDS = 1_000_000_000
_MAX_REPLICAS = 5
# Deleting many events takes longer than other requests.
_TIMEOUT_S = 60.0
_WILDCARD = ".*"


class StreamChanges:
    """Changes of the streams of a NATS system.

    All methods raise NotFoundError if the stream does not exist, StreamError if JetStream rejects a request, and
    HubConnectionError if it does not answer.

    Args:
        asking: the connection.
    """

    def __init__(self, asking: JetStreamApi) -> None:
        self._asking = asking

    async def preview_limits(self, name: str, **limits: Unpack[StreamLimits]) -> Loss:
        """What a change of limits deletes."""
        info = await self._info(name)
        config, state = {**info["config"], **_config(limits)}, info["state"]
        messages, size = state["messages"], state["bytes"]
        kept = state["first_seq"]
        max_age = config["max_age"] / _NANOSECONDS
        if messages and max_age:
            oldest = server_time(info) - timedelta(seconds=max_age)
            kept = await first_since(self._asking, name, oldest, f"{name}.>")
        loss = await self._loss(info, kept)
        if 0 <= config["max_bytes"] < size - loss.size:
            if config["discard"] == "new":
                return loss._replace(rejects=True)
            events = min(messages, -(-(size - config["max_bytes"]) * messages // size))
            # Exact, unless events in between were deleted.
            return (await self._loss(info, state["first_seq"] + events))._replace(is_estimate=True)
        return loss

    async def set_limits(self, name: str, **limits: Unpack[StreamLimits]) -> None:
        """Change limits."""
        info = await self._info(name)
        config = {**info["config"], **_config(limits)}
        age = config["max_age"]
        window = int(DUPLICATE_WINDOW * _NANOSECONDS)
        config["duplicate_window"] = min(window, age) if age else window
        await self._asking.js_request(f"STREAM.UPDATE.{name}", config, _TIMEOUT_S)

    async def preview_purge(self, name: str, topic: str | None = None, until: Moment | None = None) -> Loss:
        """What a purge deletes."""
        info = await self._info(name)
        return await self._loss(info, await self._end(info, until), _subjects(name, topic))

    async def purge(self, name: str, topic: str | None = None, until: Moment | None = None) -> int:
        """Delete events; returns their number."""
        info = await self._info(name)
        end = await self._end(info, until)
        purged = 0
        if end <= max(1, info["state"]["first_seq"]):
            # The server would take sequence 1 for no limit.
            return purged
        for subject in _subjects(name, topic) or [None]:
            body = {"seq": end} | ({} if subject is None else {"filter": subject})
            purged += (await self._asking.js_request(f"STREAM.PURGE.{name}", body, _TIMEOUT_S))["purged"]
        return purged

    async def preview_remove(self, name: str) -> Loss:
        """What removing a stream deletes."""
        info = await self._info(name)
        loss = await self._loss(info, info["state"]["last_seq"] + 1)
        return loss._replace(dead_letters=(await self._state(name)).dead)

    async def remove(self, name: str) -> None:
        """Remove a stream with its groups and dead letters."""
        await self._info(name)
        wanted = {f"{name}-dead", f"{name}-ids", f"KV_{name}-notes", f"KV_{name}-resets"}
        for group in [each async for each in pages(self._asking, f"CONSUMER.LIST.{name}", "consumers")]:
            wanted |= {f"KV_{name}-{kind}-{group['name']}" for kind in ("attempts", "handled")}
        present = {info["config"]["name"] async for info in pages(self._asking, "STREAM.LIST", "streams")}
        # The stream of events last: until then, an interrupted removal can be repeated.
        for each in [*sorted(wanted & present), name]:
            await self._delete(each)

    async def _delete(self, stream: str) -> None:
        try:
            await self._asking.js_request(f"STREAM.DELETE.{stream}", timeout=_TIMEOUT_S)
        except StreamError as error:
            if error.number != NO_STREAM:
                raise

    async def _info(self, name: str) -> dict[str, Any]:
        subjects = Subjects(name)
        missing = NotFoundError(f"There is no stream of events {name!r}. `rxhub streams` lists the streams.")
        try:
            info = await self._asking.js_request(f"STREAM.INFO.{name}")
        except StreamError as error:
            if error.number != NO_STREAM:
                raise
            raise missing from None
        if subjects.events not in (info["config"].get("subjects") or ()):
            raise missing
        return info

    async def _state(self, name: str) -> StreamState:
        for state in await stream_states(self._asking):
            if state.name == name:
                return state
        raise NotFoundError(f"The stream {name!r} was removed in the meantime.")

    async def _end(self, info: Mapping[str, Any], until: Moment | None) -> int:
        """The sequence behind the events to be deleted."""
        last: int = info["state"]["last_seq"]
        if until is None:
            return last + 1
        return min(last + 1, await first_after(self._asking, info["config"]["name"], until))

    async def _loss(self, info: Mapping[str, Any], end: int, subjects: list[str] | None = None) -> Loss:
        """What is lost if the events before a sequence are deleted, of some subjects or of all."""
        asking, name, state = self._asking, info["config"]["name"], info["state"]
        total, size = state["messages"], state["bytes"]
        chosen = subjects or [f"{name}.>"]
        last = await last_before(asking, name, end, chosen) if total else None
        first = None if last is None else await next_stored(asking, name, 1, chosen)
        if first is None or last is None:
            return Loss(0)
        before = total if subjects is None else await count_from(asking, name, 1, chosen)
        after = await count_from(asking, name, end, chosen) if end <= state["last_seq"] else 0
        # Events are stored and deleted between the requests.
        events = max(1, min(before - after, total))
        groups = [
            group["config"]["metadata"].get("rxhub.group", group["name"])
            async for group in pages(asking, f"CONSUMER.LIST.{name}", "consumers")
            if group["config"].get("durable_name")
            and group["ack_floor"]["stream_seq"] < last.sequence
            and group["num_pending"] + group["num_ack_pending"]
        ]
        return Loss(
            events,
            size if events == total else size * events // total,
            first.time,
            last.time,
            last.sequence,
            unhandled=tuple(sorted(groups)),
        )


def _config(limits: StreamLimits) -> dict[str, Any]:
    """Limits in the configuration of a stream. Raises ValueError if one is out of range."""
    config: dict[str, Any] = {}
    for name, value in limits.items():
        match name, value:
            case "max_age", int() | float() if 0 <= value < 2**63 / _NANOSECONDS:
                config["max_age"] = int(value * _NANOSECONDS)
            case "max_bytes", int() if value == -1 or 0 < value < 2**63:
                config["max_bytes"] = value
            case "discard", "new" | "old":
                config["discard"] = value
            case "replicas", int() if 1 <= value <= _MAX_REPLICAS:
                config["num_replicas"] = value
            case "max_age" | "max_bytes" | "discard" | "replicas", _:
                raise ValueError(
                    f"{name} cannot be {value!r}. max_age is a number of seconds (0: unlimited), max_bytes a positive "
                    f'number (-1: unlimited), discard "new" or "old", and replicas a number from 1 to {_MAX_REPLICAS}.'
                )
            case _:
                raise TypeError(f"A stream has no limit {name!r}, but max_age, max_bytes, discard and replicas.")
    if not config:
        raise ValueError("No limit was given. Pass at least one of max_age, max_bytes, discard and replicas.")
    return config


def _subjects(stream: str, topic: str | None) -> list[str] | None:
    """The subjects of a topic, or of all topics below one that ends with `.*`; None for all.

    Raises:
        ValueError: for other wildcards. The server could only delete more than they select.
    """
    if topic is None:
        return None
    subjects = Subjects(stream)
    name = topic.removesuffix(_WILDCARD)
    if not name or "*" in name:
        raise ValueError(
            f"Events are purged by an exact topic, or by a prefix that ends with `.*`, such as `studio.render.*`, but "
            f"{topic!r} was given."
        )
    event = subjects.event(name) + (".>" if topic != name else "")
    tokens = event.removeprefix(f"{stream}.event.")
    # Replies to one subscriber have subjects of their own.
    replies = [subjects.replies] if topic == REPLY or (topic != name and REPLY.startswith(f"{name}.")) else []
    # Dead letters that are retried are stored again for their group.
    return [event, f"{stream}.retry.*.{tokens}", *replies]
