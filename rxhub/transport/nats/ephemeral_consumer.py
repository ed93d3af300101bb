"""A consumer to read by, which nobody acknowledges."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rxhub.transport.nats.connection import NatsConnection

__all__ = ["create_ephemeral_consumer"]

# Seconds after which the server forgets a consumer of a reader that is gone.
_FORGOTTEN = 60
_NANOSECONDS = 1_000_000_000


async def create_ephemeral_consumer(
    line: NatsConnection, stream: str, subjects: Sequence[str], start: int | datetime | None = None, name: str = ""
) -> tuple[str, int]:
    """Make a consumer that nobody acknowledges, and which the server forgets a minute after nobody reads it any more.

    Args:
        line: by which to ask.
        stream: which.
        subjects: to read, none of which overlap; all of the stream's if there are none.
        start: the sequence to begin behind, or an aware time to begin at; None is from now on.
        name: of the consumer; a new one if it is not given.

    Returns:
        Its name, and how many messages there are for it.

    Raises:
        StreamError: if JetStream refuses it, as it does where there is no such stream.
        HubConnectionError: if nobody answers.
    """
    name = name or f"rxhub-{line.inbox().rpartition('.')[2]}"
    config: dict[str, Any] = {
        "name": name,
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": _FORGOTTEN * _NANOSECONDS,
    }
    if len(subjects) == 1:
        config["filter_subject"] = subjects[0]
    else:
        config["filter_subjects"] = list(subjects)
    if isinstance(start, int):
        config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": start + 1}
    elif start is not None:
        time = start.astimezone(UTC).isoformat().replace("+00:00", "Z")
        config |= {"deliver_policy": "by_start_time", "opt_start_time": time}
    else:
        config["deliver_policy"] = "new"
    told = await line.js_request(
        f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config, "action": "create"}
    )
    return name, told["num_pending"]
