"""Resets of groups that are not complete: where a deleted consumer has to continue.

A consumer cannot be moved on all servers that rxhub supports, so a reset deletes it and creates it at another place.
The new configuration is stored before. If the command ends in between, the next process that misses the consumer
completes the reset.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rxhub.transport.nats.kv_bucket import KvBucket
from rxhub.transport.nats.reconnecting import ReconnectingClient

__all__ = ["RESET_ID", "ResetRecords", "reset_id_of"]

RESET_ID = "rxhub-reset"
"""The key of a consumer's metadata that contains the id of its latest reset."""

_MAX_AGE_S = 24 * 3600.0


def reset_id_of(config: Mapping[str, Any]) -> str:
    """The id of the latest reset of a consumer; empty if it was not reset."""
    metadata: Mapping[str, str] = config.get("metadata") or {}
    return metadata.get(RESET_ID, "")


class ResetRecords:
    """The configurations of consumers that are being reset, by the name of the consumer.

    All methods raise StreamError if JetStream refuses a request, and HubConnectionError if it does not answer.
    """

    def __init__(self, link: ReconnectingClient, stream: str) -> None:
        self._bucket = KvBucket(link, f"{stream}-resets", f"Unfinished resets of groups of {stream}.", _MAX_AGE_S)

    async def put(self, consumer: str, config: dict[str, Any]) -> None:
        """Store the configuration with which a consumer has to be created again."""
        await self._bucket.put(consumer, msgspec.json.encode(config))

    async def get(self, consumer: str) -> dict[str, Any] | None:
        """The configuration with which a consumer has to be created again, if it is being reset."""
        value = await self._bucket.get(consumer)
        return msgspec.json.decode(value, type=dict[str, Any]) if value else None

    async def delete(self, consumer: str) -> None:
        """The reset is complete, or there is none."""
        if await self._bucket.get(consumer):
            await self._bucket.delete(consumer)
