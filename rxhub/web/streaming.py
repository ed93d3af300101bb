"""`GET /api/events`: a stream of the events that match a subscription."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rxhub.errors import HubConnectionError, StreamError
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded
from rxhub.server.authentication import TooManyAttempts
from rxhub.server.request_auth import address
from rxhub.web.authentication import authenticate
from rxhub.web.event_stream import HttpEventStream
from rxhub.web.pace import check_rate, take_turn
from rxhub.web.parameters import moment, parameters
from rxhub.web.problems import Problem
from rxhub.web.site import Site
from rxhub.web.stored_events import HistoryLimits, Moment, StoredEvents
from rxhub.web.stream_format import NDJSON, SSE, STREAM_HEADERS, StreamFormat, stream_format
from rxhub.web.subscription_text import parse_subscription

__all__ = ["streaming_routes"]

_ACCEPTED: Final = {"text/event-stream": SSE, "text/*": SSE, "*/*": SSE, NDJSON: NDJSON, "application/ndjson": NDJSON}
_STEPS_PER_STREAM: Final = 2_000
_FIRST: Final = "first"


def streaming_routes(site: Site) -> list[Route]:
    """The route."""
    limits = HistoryLimits(site.server)

    async def events(request: Request) -> Response:
        server = site.server
        user = await authenticate(site, request)
        given = parameters(request, "subscription", "since", "until", "format")
        format = _accepted_format(request, given.get("format", ""))
        text = given.get("subscription", "")
        if not text:
            raise Problem(400, "The parameter `subscription` is missing. For all events, use `subscription=topic=*`.")
        check_rate(site, user)
        turn = await take_turn(site, user)
        work = StepBudget(server.options.limits.work)
        try:
            with work:
                tree = parse_subscription(text, server.options.limits, work)
        except StepBudgetExceeded:
            raise Problem(422, "Parsing this subscription takes too much work. Use fewer conditions.") from None
        finally:
            # Many clients can reconnect at once.
            turn.spend(_STEPS_PER_STREAM + work.steps)
        if user.subscribe.narrow(tree) is None:
            raise Problem(403, f"The user {user.name!r} may not receive any event that matches {text[:200]!r}.")
        since, until = _moment(given, "since"), _moment(given, "until")
        last_id = request.headers.get("last-event-id")
        if last_id:
            since = int(last_id) + 1 if last_id.isascii() and last_id.isdigit() and len(last_id) < 20 else last_id
        try:
            server.count_handshake(user)
        except TooManyAttempts as error:
            raise Problem(429, str(error), {"retry-after": "1"}) from None
        stream = HttpEventStream(server, user, address(request.scope), format, {"id": uuid4().hex})
        return _Streaming(stream, text, since, until, limits)

    return [Route("/events", events, methods=["GET"])]


def _accepted_format(request: Request, format: str) -> StreamFormat:
    """The form in which a client wants events.

    Raises:
        Problem: 400 if the parameter `format` is unknown, 406 if the client accepts none.
    """
    if format not in {"", "cloudevents"}:
        raise Problem(400, f"{format[:80]!r} is not a format of events. Use format=cloudevents, or omit the parameter.")
    for part in request.headers.get("accept", "*/*").split(","):
        media_type = part.partition(";")[0].strip().lower()
        if media_type in _ACCEPTED:
            return stream_format(_ACCEPTED[media_type], format == "cloudevents")
    raise Problem(406, f"Events are sent as {SSE} or {NDJSON}. Send one of them as `Accept`.")


def _moment(given: dict[str, str], name: str) -> Moment | None:
    return 0 if name == "since" and given.get(name) == _FIRST else moment(given, name)


class _Streaming(Response):
    """The response of a stream."""

    def __init__(
        self,
        stream: HttpEventStream,
        text: str,
        since: Moment | str | None,
        until: Moment | None,
        limits: HistoryLimits,
    ) -> None:
        super().__init__(media_type=stream.format.media_type, headers=STREAM_HEADERS)
        del self.headers["content-length"]
        self._stream = stream
        self._text = text
        self._since = since
        self._until = until
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = self._stream
        stream.open()
        try:
            first = await self._first()
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            async with aclosing(first):
                await stream.run(scope, receive, send, first)
        finally:
            stream.close()

    async def _first(self) -> AsyncGenerator[bytes]:
        """The frames before the first new event.

        Raises:
            Problem: 503 if the backplane cannot be reached.
        """
        backplane = self._stream.server.options.backplane
        since, until = self._since, self._until
        try:
            if backplane is None or isinstance(since, str) or (since is None and until is None):
                last = await self._stream.subscribe(self._text)
                return self._notice(last, since if until is None else since or 0)
            stored = StoredEvents(backplane, self._stream, self._text, self._limits)
            bounds = await backplane.bounds()
        except (HubConnectionError, StreamError) as error:
            raise Problem(503, f"The subscription was not added: {error}", {"retry-after": "5"}) from None
        return stored.frames(since or 0, until, bounds)

    async def _notice(self, last: int, since: Moment | str | None) -> AsyncGenerator[bytes]:
        """The position in the stream or a heartbeat, or the notice that stored events cannot be sent."""
        if since is None:
            yield self._stream.format.position(last) if last else self._stream.format.heartbeat
            return
        if self._stream.server.options.backplane is None:
            reason = "This server does not store events. Start it with --store or --nats to resume and replay streams."
        else:
            reason = f"Last-Event-ID {str(since)[:80]!r} is not a sequence of the stream."
        yield self._stream.format.gap({"reason": reason})
        if self._until is not None:
            self._stream.finish()
