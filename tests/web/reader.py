"""A reader of a stream of events, in a thread of its own."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from rxhub.server import Running
from tests.threads import LIMIT, elsewhere, until

__all__ = ["Reader", "frames", "reading"]


class Reader:
    """What has arrived.

    Attributes:
        headers: of the response.
        frames: complete frames so far; of Server-Sent Events, their fields by name; of lines, `data`.
        position: the last id, also of frames without data.
        is_over: whether the response has ended.
        error: why it ended, if it was incomplete.
    """

    def __init__(self) -> None:
        self.headers: Mapping[str, str] = {}
        self.frames: list[dict[str, str]] = []
        self.heartbeats = 0
        self.position = ""
        self.is_over = False
        self.error: Exception | None = None
        self.response: httpx.Response | None = None

    @property
    def data(self) -> list[Any]:
        return [json.loads(frame["data"]) for frame in list(self.frames)]

    @property
    def values(self) -> list[Any]:
        """The field `n` of the data of the events, and the gaps."""
        return [each["data"]["n"] if "topic" in each else "gap" for each in self.data]

    def wait(self, count: int) -> list[Any]:
        """The data of the first frames, once there are as many."""
        until(lambda: len(self.frames) >= count or self.is_over)
        assert len(self.frames) >= count, (self.frames, self.error)
        return self.data[:count]

    def read(self, lines: Any) -> None:
        frame: dict[str, str] = {}
        for line in lines:
            if line.startswith("{"):
                self.frames.append({"data": line})
            elif line in {"", ":"}:
                self.heartbeats += not frame
                if "data" in frame:
                    self.frames.append(frame)
                self.position = frame.get("id", self.position)
                frame = {}
            else:
                name, _, value = line.partition(": ")
                frame[name] = value


@contextmanager
def reading(
    server: Running,
    subscription: str,
    user: str = "",
    key: str = "",
    headers: Mapping[str, str] | None = None,
    **query: Any,
) -> Generator[Reader]:
    """Read a stream during the block. It has started when the block begins."""
    reader = Reader()
    authorization = {"authorization": f"Bearer {user or server.api_user}:{key or server.api_key}"}

    def run() -> None:
        try:
            with httpx.stream(
                "GET",
                f"{server.url}/api/events",
                params={"subscription": subscription, **query},
                headers=authorization | dict(headers or {}),
                trust_env=False,
                timeout=LIMIT,
            ) as response:
                reader.headers = response.headers
                reader.response = response
                if response.status_code == 200:
                    reader.read(response.iter_lines())
                else:
                    reader.error = AssertionError(response.read())
        except (httpx.HTTPError, httpx.StreamError) as error:
            reader.error = error
        finally:
            reader.is_over = True

    with elsewhere(run):
        try:
            until(lambda: reader.response is not None or reader.is_over)
            assert reader.response is not None and reader.response.status_code == 200, reader.error
            yield reader
        finally:
            if reader.response is not None and not reader.is_over:
                # Another thread reads, so only the socket can be shut down.
                reader.response.extensions["network_stream"].get_extra_info("socket").shutdown(2)


def frames(server: Running, subscription: str, **options: Any) -> Reader:
    """Read a stream until the server ends it."""
    with reading(server, subscription, **options) as reader:
        until(lambda: reader.is_over)
    assert reader.error is None
    return reader
