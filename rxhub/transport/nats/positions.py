"""Find events in a stream, and count them, without reading those in between.

All functions raise StreamError if JetStream rejects a request, and HubConnectionError if it does not answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from rxhub.errors import StreamError
from rxhub.transport.durable import Moment
from rxhub.transport.nats.streams import NO_MESSAGE, NO_STREAM, JetStreamApi, server_time

__all__ = ["StoredAt", "count_from", "first_after", "first_since", "last_before", "message_at", "next_stored"]

# Temporary consumers are deleted at once; this is for a process that ends before.
_FORGOTTEN_NANOSECONDS = 5_000_000_000


class StoredAt(NamedTuple):
    """The place of an event in a stream."""

    sequence: int
    time: datetime


async def message_at(asking: JetStreamApi, stream: str, sequence: int, subject: str) -> dict[str, Any] | None:
    """The first message of a subject with a sequence or a later one; None if there is none."""
    request = {"seq": max(1, sequence), "next_by_subj": subject}
    try:
        return (await asking.js_request(f"STREAM.MSG.GET.{stream}", request))["message"]
    except StreamError as error:
        if error.number in (NO_STREAM, NO_MESSAGE):
            return None
        raise


async def next_stored(asking: JetStreamApi, stream: str, sequence: int, subjects: Iterable[str]) -> StoredAt | None:
    """The first event of some subjects with a sequence or a later one; None if there is none."""
    found = [await message_at(asking, stream, sequence, subject) for subject in subjects]
    places = [StoredAt(each["seq"], datetime.fromisoformat(each["time"])) for each in found if each is not None]
    return min(places, default=None)


async def last_before(asking: JetStreamApi, stream: str, sequence: int, subjects: Sequence[str]) -> StoredAt | None:
    """The last event of some subjects before a sequence; None if there is none."""
    found = await next_stored(asking, stream, 1, subjects)
    if found is None or found.sequence >= sequence:
        return None
    low, high = found.sequence + 1, sequence
    while low < high:
        middle = (low + high) // 2
        place = await next_stored(asking, stream, middle, subjects)
        if place is None or place.sequence >= sequence:
            high = middle
        else:
            found, low = place, place.sequence + 1
    return found


async def first_since(
    asking: JetStreamApi, stream: str, time: datetime, subject: str, *, excluded: bool = False
) -> int:
    """The sequence of the first event of a subject since a time, or of the next event of the stream.

    `excluded`: whether events of exactly this time come before.
    """
    state = (await asking.js_request(f"STREAM.INFO.{stream}"))["state"]
    low, high = state["first_seq"], state["last_seq"] + 1
    while low < high:
        middle = (low + high) // 2
        message = await message_at(asking, stream, middle, subject)
        stored = None if message is None else datetime.fromisoformat(message["time"])
        if message is None or stored is None or stored > time or (stored == time and not excluded):
            high = middle
        else:
            low = message["seq"] + 1
    return low


async def first_after(asking: JetStreamApi, stream: str, until: Moment) -> int:
    """The sequence behind a range of a stream that ends with a sequence or a time, which is included.

    Raises:
        ValueError: if the end is not valid.
    """
    match until:
        case bool():
            pass
        case int() if until >= 0:
            return until + 1
        case timedelta():
            now = server_time(await asking.js_request(f"STREAM.INFO.{stream}"))
            try:
                return await first_after(asking, stream, now - until)
            except OverflowError:
                return 1
        case datetime() if until.tzinfo is not None:
            return await first_since(asking, stream, until, f"{stream}.>", excluded=True)
        case _:
            pass
    raise ValueError(
        f"A place in a stream is an aware datetime, a timedelta (how long ago), or a sequence, but {until!r} was given."
    )


async def count_from(asking: JetStreamApi, stream: str, start: int | datetime, subjects: Sequence[str] = ()) -> int:
    """The number of events from a sequence or a time on, of some subjects or of all.

    The server reports this number to a new consumer, and does not read the events for it.
    """
    name = f"rxhub-count-{uuid4().hex}"
    config: dict[str, Any] = {
        "name": name,
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": _FORGOTTEN_NANOSECONDS,
    }
    if subjects:
        config["filter_subjects"] = list(subjects)
    if isinstance(start, int):
        config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": max(1, start)}
    else:
        time = start.astimezone(UTC).isoformat().replace("+00:00", "Z")
        config |= {"deliver_policy": "by_start_time", "opt_start_time": time}
    request = {"stream_name": stream, "config": config, "action": "create"}
    pending: int = (await asking.js_request(f"CONSUMER.CREATE.{stream}.{name}", request))["num_pending"]
    await asking.js_request(f"CONSUMER.DELETE.{stream}.{name}")
    return pending
