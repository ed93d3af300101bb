"""`POST /api/events`: publishes events, and waits until the server has accepted them."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rxhub.errors import EventError, Refused
from rxhub.server.key_removal import headers_of
from rxhub.server.rate_limit import STEPS_PER_EVENT
from rxhub.server.subscribe_request import SUBSCRIBE, UNSUBSCRIBE
from rxhub.server.users import User
from rxhub.web.authentication import authenticate
from rxhub.web.body import json_response, media_type, read_body
from rxhub.web.event_input import PublishedEvent, read_events
from rxhub.web.pace import Turn, check_rate, counted
from rxhub.web.parameters import parameters
from rxhub.web.problems import Problem
from rxhub.web.replies import ReplyCollector, reply_request
from rxhub.web.request_tracing import carrier_for
from rxhub.web.site import Site

__all__ = ["publish_all", "publishing_routes"]

_BODY_FACTOR: Final = 4
"""The body of a request may have as many times the size of an event, like a message on a WebSocket."""

_STEPS_PER_TURN: Final = 5_000
_ACK_TIMEOUT_S: Final = 10.0


def publishing_routes(site: Site) -> list[Route]:
    """The route."""

    async def publish(request: Request) -> Response:
        limits = site.server.options.limits
        user = await authenticate(site, request)
        given = parameters(request, "reply", "count")
        wanted = reply_request(given)
        with counted(site, user):
            check_rate(site, user, 0)
            body = await read_body(site, request, user.name, _BODY_FACTOR * limits.message)
            turn = Turn(site, user)
            await turn.ready()
            source = {"id": uuid4().hex, "user": {"username": user.name}} | carrier_for(request)
            events: list[PublishedEvent] = []
            steps = len(body) // 100
            for event in read_events(body, media_type(request), headers_of(request.scope), source, limits.message):
                events.append(event)
                steps += len(event.text) // 10
                if steps > _STEPS_PER_TURN:
                    turn.spend(steps)
                    steps = 0
                    await turn.ready()
            turn.spend(steps)
            if wanted is None:
                ids = await publish_all(site, user, events)
                return json_response({"ids": ids}, 202)
            if len(events) > 1:
                raise Problem(400, "Replies can be awaited for one event. Send one event, or omit `reply`.")
            return ReplyCollector(site, request, user, events[0], wanted, lambda: publish_all(site, user, events))

    return [Route("/events", publish, methods=["POST"])]


async def publish_all(site: Site, user: User, events: list[PublishedEvent]) -> list[str]:
    """Publish events in order.

    Returns:
        Their ids, when the server has accepted them. With a backplane, they are stored.

    Raises:
        Problem: 403 if the user may not publish a topic, 400 if the server rejects an event, 503 if an event could not
            be stored. `ids` are those of the events that were published before.
    """
    server = site.server
    for index, event in enumerate(events):
        topic = event.envelope.topic
        if topic in {SUBSCRIBE, UNSUBSCRIBE}:
            raise _refused(400, f"{topic} is for WebSockets. To subscribe, use GET /api/events.", index)
        if topic not in user.publish:
            raise _refused(403, f"The user {user.name!r} may not publish {topic[:200]!r}.", index)
        if event.envelope.target and server.options.backplane is not None:
            try:
                server.router.check(event.envelope)
            except Refused as error:
                raise _refused(400, str(error), index) from None
    ids: list[str] = []
    pending: list[Future[None]] = []
    meter, turns, rate = server.router.meter, server.reading, server.rate(user.name)
    for event in events:
        if not turns.is_free:
            await turns.wait(user.name)
        before, of_others = meter.steps, meter.steps_of_others
        server.counters.events_received += 1
        try:
            stored = server.publish(event.envelope, event.text, user, event.message_id)
        except (EventError, Refused) as error:
            server.counters.events_refused += 1
            await _stored(pending, ids)
            status = 503 if server.options.backplane is not None else 400
            raise Problem(status, str(error), ids=ids, index=len(ids)) from None
        finally:
            steps = meter.steps - before + len(event.text) // 10
            turns.spend(steps)
            rate.reserve(max(1.0, (steps - meter.steps_of_others + of_others) / STEPS_PER_EVENT))
        ids.append(event.envelope.id or "")
        if stored is not None:
            pending.append(stored)
    await _stored(pending, ids)
    return ids


async def _stored(pending: list[Future[None]], ids: list[str]) -> None:
    """Wait until events are stored.

    Raises:
        Problem: 503 if they are not.
    """
    left = len(pending)
    done = asyncio.Event()

    def count(_: Future[None]) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    for outcome in pending:
        outcome.add_done_callback(count)
    reason = ""
    try:
        if pending:
            await asyncio.wait_for(done.wait(), _ACK_TIMEOUT_S)
    except TimeoutError:
        reason = f"NATS has not confirmed it within {_ACK_TIMEOUT_S:g} s"
    for outcome in pending:
        if outcome.done() and (error := outcome.exception()) is not None:
            reason = str(error)
    if reason:
        detail = f"It is not known whether all events were stored: {reason}. Send them again with the same ids."
        raise Problem(503, detail, {"retry-after": "5"}, ids=ids)


def _refused(status: int, detail: str, index: int) -> Problem:
    return Problem(status, f"No event was published. {detail}", index=index)
