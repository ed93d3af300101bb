"""Describe, pause, reset and remove the groups of a stream.

The methods of `rxhub.transport.nats.administration.Groups`, for the event loop of a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import uuid4

from rxhub.errors import HubConnectionError, NotFoundError, StreamError
from rxhub.transport.durable import GroupReset, GroupState, Place
from rxhub.transport.nats.event_search import sequence_of
from rxhub.transport.nats.positions import count_from, first_since, next_stored
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.reset_records import RESET_ID, ResetRecords, reset_id_of
from rxhub.transport.nats.streams import NO_CONSUMER, NO_STREAM, group_state, pages, server_time
from rxhub.transport.nats.subjects import Subjects, consumer_name

__all__ = ["StoredGroups"]

# A pause has an end in NATS. No group waits that long.
_PAUSE = timedelta(days=36_500)
# The name of a deleted consumer is free before its state is removed from the server's disk (see `GroupMembership`).
_RECREATE_DELAY_S = 0.5
_RESET_ATTEMPTS = 20
_START = ("deliver_policy", "opt_start_seq", "opt_start_time")


class StoredGroups:
    """The groups of a stream.

    All methods raise NotFoundError if the group does not exist, StreamError if JetStream rejects a request, and
    HubConnectionError if it does not answer.

    Args:
        link: the connection.
        subjects: of the stream.
    """

    def __init__(self, link: ReconnectingClient, subjects: Subjects) -> None:
        self._link = link
        self._subjects = subjects
        self._stream = subjects.stream
        self._records = ResetRecords(link, subjects.stream)

    async def list(self, interval: float = 0.0) -> tuple[GroupState, ...]:
        """The groups by name, with the time of the oldest event that is not handled.

        Args:
            interval: seconds for which the rate is measured; 0 measures none.
        """
        before = await self._consumers() if interval > 0 else {}
        began = monotonic()
        await asyncio.sleep(max(0.0, interval))
        found: list[GroupState] = []
        seconds = monotonic() - began
        for name, info in (await self._consumers()).items():
            state = group_state(info)
            if state.waiting or state.pending:
                oldest = await next_stored(self._link, self._stream, _floor(info) + 1, _filters(info, self._stream))
                state = state._replace(oldest=None if oldest is None else oldest.time)
            if (earlier := before.get(name)) is not None and (handled := _ended(info) - _ended(earlier)) >= 0:
                state = state._replace(rate=handled / seconds)
            found.append(state)
        return tuple(sorted(found))

    async def pause(self, group: str) -> None:
        """Deliver no events to a group, until `resume`."""
        await self._info(group)
        until = (datetime.now(UTC) + _PAUSE).isoformat().replace("+00:00", "Z")
        await self._link.js_request(f"CONSUMER.PAUSE.{self._stream}.{consumer_name(group)}", {"pause_until": until})

    async def resume(self, group: str) -> None:
        """Deliver events to a paused group again."""
        await self._info(group)
        await self._link.js_request(f"CONSUMER.PAUSE.{self._stream}.{consumer_name(group)}", {})

    async def preview_reset(self, group: str, to: Place) -> GroupReset:
        """What a reset changes."""
        info = await self._info(group)
        sequence = await self._sequence(to)
        remaining = await count_from(self._link, self._stream, sequence, _filters(info, self._stream))
        unhandled = info["num_pending"] + info["num_ack_pending"]
        return GroupReset(sequence, max(0, remaining - unhandled), max(0, unhandled - remaining))

    async def reset(self, group: str, to: Place) -> int:
        """Let a group continue at another place of the stream; returns its sequence."""
        info = await self._info(group)
        sequence = await self._sequence(to)
        name, old = info["name"], info["config"]
        reset_id = uuid4().hex
        metadata: Mapping[str, str] = old.get("metadata") or {}
        config = {key: value for key, value in old.items() if key not in _START}
        config |= {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": sequence,
            "metadata": {
                **{key: value for key, value in metadata.items() if not key.startswith("_nats")},
                RESET_ID: reset_id,
            },
        }
        # From here on, every process that misses the consumer recreates it at the new place.
        await self._records.put(name, config)
        for _ in range(_RESET_ATTEMPTS):
            await self._delete(f"CONSUMER.DELETE.{self._stream}.{name}", NO_CONSUMER)
            # The attempts and the ids of events that are handled again.
            for kind in ("attempts", "handled"):
                await self._delete(f"STREAM.DELETE.KV_{self._stream}-{kind}-{name}", NO_STREAM)
            await asyncio.sleep(_RECREATE_DELAY_S)
            await self._try_to_create(name, config)
            # A process may have been faster, with this place, or, if it did not see the record, with the old one.
            found = await self._find(name)
            if found is not None and reset_id_of(found["config"]) == reset_id:
                await self._records.delete(name)
                return sequence
        raise HubConnectionError(
            f"The group {group} could not be recreated at {sequence}, because its processes recreate it all the time. "
            "Stop them, and reset the group again."
        )

    async def remove(self, group: str) -> None:
        """Remove a group, its attempts and the ids of the events that it has handled."""
        name = (await self._info(group))["name"]
        await self._records.delete(name)
        await self._delete(f"CONSUMER.DELETE.{self._stream}.{name}", NO_CONSUMER)
        for kind in ("attempts", "handled"):
            await self._delete(f"STREAM.DELETE.KV_{self._stream}-{kind}-{name}", NO_STREAM)

    async def state(self, group: str) -> GroupState:
        """One group."""
        return group_state(await self._info(group))

    async def _consumers(self) -> dict[str, dict[str, Any]]:
        try:
            found = [info async for info in pages(self._link, f"CONSUMER.LIST.{self._stream}", "consumers")]
        except StreamError as error:
            if error.number != NO_STREAM:
                raise
            raise NotFoundError(f"There is no stream {self._stream!r}. `rxhub streams` lists the streams.") from None
        return {info["name"]: info for info in found if info["config"].get("durable_name")}

    async def _info(self, group: str) -> dict[str, Any]:
        name = consumer_name(group)
        if (info := await self._find(name)) is not None:
            return info
        if (config := await self._records.get(name)) is not None:
            # Another reset has deleted it, and runs or was interrupted.
            await asyncio.sleep(_RECREATE_DELAY_S)
            await self._try_to_create(name, config)
        # Or it has ended between the two requests.
        if (info := await self._find(name)) is not None:
            return info
        raise NotFoundError(
            f"There is no group {group!r} in the stream {self._stream!r}. `rxhub groups` lists the groups."
        )

    async def _find(self, consumer: str) -> dict[str, Any] | None:
        try:
            return await self._link.js_request(f"CONSUMER.INFO.{self._stream}.{consumer}")
        except StreamError as error:
            if error.number not in (NO_CONSUMER, NO_STREAM):
                raise
            return None

    async def _try_to_create(self, consumer: str, config: Mapping[str, Any]) -> None:
        request = {"stream_name": self._stream, "config": config, "action": "create"}
        with suppress(StreamError):
            await self._link.js_request(f"CONSUMER.CREATE.{self._stream}.{consumer}", request)

    async def _delete(self, api: str, missing: int) -> None:
        try:
            await self._link.js_request(api)
        except StreamError as error:
            if error.number != missing:
                raise

    async def _sequence(self, to: Place) -> int:
        """The sequence of a place. Raises ValueError if it is not valid, NotFoundError if the event is not stored."""
        match to:
            case bool():
                pass
            case "first":
                return 1
            case int() if to > 0:
                # JetStream would deliver nothing to the group until the stream has reached a later sequence.
                return min(to, await self._end())
            case str() if to:
                return await sequence_of(self._link, self._subjects, to)
            case timedelta():
                now = server_time(await self._link.js_request(f"STREAM.INFO.{self._stream}"))
                try:
                    return await self._sequence(now - to)
                except OverflowError:
                    return 1 if to > timedelta() else await self._end()
            case datetime() if to.tzinfo is not None:
                return max(1, await first_since(self._link, self._stream, to, f"{self._stream}.>"))
            case _:
                pass
        raise ValueError(
            "A group is reset to an aware datetime, a timedelta (how long ago), a sequence of the stream from 1, the "
            f'id of an event, or "first", but {to!r} was given.'
        )

    async def _end(self) -> int:
        """The sequence of the next event of the stream."""
        return (await self._link.js_request(f"STREAM.INFO.{self._stream}"))["state"]["last_seq"] + 1


def _floor(info: Mapping[str, Any]) -> int:
    return info["ack_floor"]["stream_seq"]


def _ended(info: Mapping[str, Any]) -> int:
    """The number of deliveries that were acknowledged or followed by others."""
    return info["delivered"]["consumer_seq"] - info["num_ack_pending"]


def _filters(info: Mapping[str, Any], stream: str) -> list[str]:
    config = info["config"]
    single = config.get("filter_subject")
    return config.get("filter_subjects") or [single or f"{stream}.>"]
