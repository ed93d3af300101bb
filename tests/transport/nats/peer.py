"""A plain client of a NATS server: what it stores and finds is what the server holds, whatever rxhub believes."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, NamedTuple

import nats

from rxhub.testing import Nats

__all__ = ["Found", "Peer"]


class Found(NamedTuple):
    """A message that a stream holds; the time is the server's own, to the nanosecond."""

    subject: str
    data: bytes
    time: str


class Peer:
    """A client of its own, on a loop of its own; its stream is not made by it unless asked."""

    def __init__(self, at: Nats) -> None:
        self._runner = asyncio.Runner()
        self.stream = at.stream
        self._client = self._runner.run(nats.connect(at.url, user=at.user, password=at.password))

    def ask(self, api: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = self._client.request(f"$JS.API.{api}", json.dumps(body or {}).encode(), timeout=10)
        told = json.loads(self._runner.run(request).data)
        assert "error" not in told, told["error"]
        return told

    def make_stream(self, *kinds: str) -> None:
        every = [f"{self.stream}.{kind}.>" for kind in kinds]
        self.ask(f"STREAM.CREATE.{self.stream}", {"name": self.stream, "subjects": every, "storage": "memory"})

    def store(self, subject: str, data: bytes = b"", stream: str = "") -> None:
        answer = json.loads(self._runner.run(self._client.request(subject, data, timeout=10)).data)
        assert answer["stream"] == (stream or self.stream), answer

    def pull(self, consumer: str, count: int) -> None:
        """Get messages, and acknowledge none of them."""

        async def pull() -> None:
            subscription = await self._client.jetstream().pull_subscribe_bind(consumer, self.stream)
            await subscription.fetch(count, timeout=10)

        self._runner.run(pull())

    def last(self) -> Found:
        return self._found({"last_by_subj": f"{self.stream}.>"})

    def found(self, sequence: int) -> Found:
        return self._found({"seq": sequence})

    def consumers(self) -> list[dict[str, Any]]:
        """Who reads the stream at present; without those who want replies, as each hub does for itself."""
        every = self.ask(f"CONSUMER.LIST.{self.stream}")["consumers"]
        return [one for one in every if ".reply." not in json.dumps(one["config"])]

    def delete_stream(self) -> None:
        self.ask(f"STREAM.DELETE.{self.stream}")

    def purge(self) -> None:
        self.ask(f"STREAM.PURGE.{self.stream}")

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def _found(self, which: dict[str, Any]) -> Found:
        message = self.ask(f"STREAM.MSG.GET.{self.stream}", which)["message"]
        return Found(message["subject"], base64.b64decode(message.get("data", "")), message["time"])
