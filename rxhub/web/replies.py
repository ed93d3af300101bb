"""`POST /api/events?reply=SECONDS`: publishes an event and waits for replies.

The publisher becomes a subscriber with the id of the event's source, to which replies are addressed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from rxhub.errors import HubConnectionError, Refused
from rxhub.server.acl import REPLY
from rxhub.server.request_auth import address
from rxhub.server.users import User
from rxhub.web.body import json_response
from rxhub.web.event_input import PublishedEvent
from rxhub.web.event_stream import HttpEventStream
from rxhub.web.parameters import integer
from rxhub.web.problems import Problem
from rxhub.web.site import Site
from rxhub.web.stream_format import NDJSON, STREAM_HEADERS, stream_format

__all__ = ["ReplyCollector", "ReplyRequest", "reply_request"]

_MAX_SECONDS: Final = 300.0
_MAX_REPLIES: Final = 1_000


class ReplyRequest(NamedTuple):
    """Which replies are awaited.

    Attributes:
        seconds: how long.
        most: the response ends after as many.
    """

    seconds: float
    most: int


def reply_request(given: Mapping[str, str]) -> ReplyRequest | None:
    """The parameters `reply` and `count`; None if no reply is awaited.

    Raises:
        Problem: if one of them is invalid.
    """
    count = integer(given, "count", _MAX_REPLIES, 1, _MAX_REPLIES)
    if "reply" not in given:
        if "count" in given:
            raise Problem(400, "The parameter `count` needs `reply`, the number of seconds to wait for replies.")
        return None
    try:
        seconds = float(given["reply"])
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _MAX_SECONDS:
        raise Problem(400, f"The parameter `reply` must be a number of seconds from 0 to {_MAX_SECONDS:g}.")
    return ReplyRequest(seconds, count)


class ReplyCollector(Response):
    """The response with the replies to an event: as they arrive if the client accepts lines of JSON.

    Args:
        site: the server.
        request: of the publisher.
        user: the publisher.
        event: the event.
        wanted: which replies.
        publish: publishes the event, and returns its id.
    """

    def __init__(
        self,
        site: Site,
        request: Request,
        user: User,
        event: PublishedEvent,
        wanted: ReplyRequest,
        publish: Callable[[], Awaitable[list[str]]],
    ) -> None:
        super().__init__(media_type=NDJSON, headers=STREAM_HEADERS)
        del self.headers["content-length"]
        self._wanted = wanted
        self._publish = publish
        self._is_stream = NDJSON in request.headers.get("accept", "")
        envelope = event.envelope
        source = (envelope.source or {}).get("id")
        if not isinstance(source, str) or not source:
            raise Problem(400, "The source of the event needs an `id`, a string, to which replies are addressed.")
        self._stream = HttpEventStream(
            site.server,
            user,
            address(request.scope),
            stream_format(NDJSON, cloudevents=False),
            {"id": source},
            lambda reply: reply.envelope.in_reply_to_event == envelope.id,
            wanted.most,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = self._stream
        stream.open()
        try:
            try:
                await stream.subscribe(f"topic={REPLY}", lease=True)
            except Refused as error:
                raise Problem(409, str(error)) from None
            except HubConnectionError as error:
                raise Problem(503, str(error), {"retry-after": "5"}) from None
            ids = await self._publish()
            timer = asyncio.get_running_loop().call_later(self._wanted.seconds, stream.finish)
            try:
                if self._is_stream:
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    await stream.run(scope, receive, send, _line({"ids": ids}))
                else:
                    found = _Collected()
                    await stream.run({}, receive, found.send)
                    await json_response({"ids": ids, "replies": found.replies})(scope, receive, send)
            finally:
                timer.cancel()
        finally:
            stream.close()


class _Collected:
    """Collects the lines of a stream."""

    def __init__(self) -> None:
        self.replies: list[msgspec.Raw] = []

    async def send(self, message: Message) -> None:
        """Receive a frame."""
        if line := message["body"].strip():
            self.replies.append(msgspec.Raw(line))


async def _line(content: Mapping[str, Any]) -> AsyncGenerator[bytes]:
    yield msgspec.json.encode(content) + b"\n"
