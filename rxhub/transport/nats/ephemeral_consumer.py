"""Ephemeral consumers without acknowledgements."""

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
    """Create an ephemeral consumer without acknowledgements. The server deletes it a minute after its last pull.

    `subjects`: filters that do not overlap; empty reads everything. `start`: the sequence to continue after, or an
    aware time; None is now. Returns its name, and how many messages there are for it. Raises StreamError if JetStream
    rejects it, for example because the stream does not exist.
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
