"""`POST /hooks/NAME`: incoming webhooks, whose signed requests become events.

A request whose signature was accepted before is a replay, and rejected. Another request with an id that was accepted is
a repeated attempt of the sender: it is acknowledged, and not published again. Ids are kept in memory. With a store, the
stream also recognizes the id of the event, which is derived from what was signed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rxhub.concurrency.bounded_dict import BoundedDict
from rxhub.errors import WebhookError
from rxhub.server.envelope import payload, read
from rxhub.server.key_removal import headers_of
from rxhub.server.rate_limit import TokenBuckets
from rxhub.server.request_auth import address
from rxhub.server.users import User
from rxhub.web.authentication import check_access
from rxhub.web.body import decode_json, json_response, media_type, read_body
from rxhub.web.event_input import PublishedEvent
from rxhub.web.pace import check_rate, take_turn
from rxhub.web.parameters import parameters
from rxhub.web.problems import Problem
from rxhub.web.publishing import publish_all
from rxhub.web.request_tracing import carrier_for
from rxhub.web.site import Site
from rxhub.web.webhook_options import TopicError, Webhook, read_webhooks
from rxhub.web.webhook_signatures import SignatureError, WebhookRequest

__all__ = ["webhook_routes"]

_FORM: Final = "application/x-www-form-urlencoded"
_KEPT_DELIVERIES: Final = 100_000
_FAILURES_FACTOR: Final = 10

_logger = logging.getLogger("rxhub.server")


def webhook_routes(site: Site) -> list[Route]:
    """The route of the webhooks in the server's file; none without a file.

    Raises:
        WebhookError: if the file is invalid, or the user of a webhook does not exist.
    """
    if site.access.webhooks is None:
        return []
    hooks = read_webhooks(site.access.webhooks)
    for hook in hooks.values():
        if site.server.users.get(hook.user) is None:
            raise WebhookError(
                f"The user {hook.user!r} of the webhook {hook.name!r} does not exist. Add it with `rxhub user add "
                f"{hook.user}`, or set `user` in {site.access.webhooks}."
            )
    return [Route("/{name}", _Webhooks(site, hooks).receive, methods=["POST"])]


class _Webhooks:
    """The endpoint, and the deliveries that were accepted."""

    def __init__(self, site: Site, hooks: Mapping[str, Webhook]) -> None:
        limits = site.server.options.limits
        self._site = site
        self._hooks = hooks
        self._failures = TokenBuckets(limits.failures * _FAILURES_FACTOR, limits.failures_at_once * _FAILURES_FACTOR)
        # The ids of deliveries, and what was signed, of each webhook.
        self._accepted = {name: BoundedDict[str, None](_KEPT_DELIVERIES) for name in hooks}
        self._signed = {name: BoundedDict[str, None](_KEPT_DELIVERIES) for name in hooks}

    async def receive(self, request: Request) -> Response:
        """Publish the event of a request."""
        site = self._site
        await check_access(site, request)
        parameters(request)
        hook = self._hooks.get(request.path_params["name"])
        if hook is None:
            raise Problem(404, "This server has no webhook with this name.")
        failures = self._failures[address(request.scope)]
        if not failures.is_ready:
            raise Problem(429, "Too many requests with a wrong signature. Wait a second.", {"retry-after": "1"})
        # Users have no spaces in their names, so this use of memory is no user's.
        body = await read_body(
            site, request, f"webhook {hook.name}", site.server.options.limits.message, is_known=False
        )
        headers = headers_of(request.scope)
        try:
            delivery = hook.verify(body, headers)
        except SignatureError as error:
            failures.take()
            site.server.rejections.warning(
                "Rejected a request to the webhook %s from %s: %s", hook.name, address(request.scope), error
            )
            raise Problem(401, str(error), {"www-authenticate": f'Signature realm="{hook.name}"'}) from None
        site.server.refresh_users()
        user = site.server.users.get(hook.user)
        if user is None:
            _logger.error("The user %r of the webhook %r does not exist any more.", hook.user, hook.name)
            raise Problem(403, "The user of this webhook does not exist any more.")
        return await self._accept(request, hook, user, delivery, body)

    async def _accept(
        self, request: Request, hook: Webhook, user: User, delivery: WebhookRequest, body: bytes
    ) -> Response:
        accepted, signed = self._accepted[hook.name], self._signed[hook.name]
        if delivery.signed in signed:
            raise Problem(409, "This request is a replay: the server has accepted it before.")
        id = f"{hook.name}:{delivery.event_id}"
        # Marked before the first wait, because copies can arrive at the same time.
        signed[delivery.signed] = None
        if delivery.id in accepted:
            return json_response({"ids": [id], "duplicate": True}, 202)
        accepted[delivery.id] = None
        try:
            await self._publish(request, hook, user, delivery, body, id)
        except BaseException:
            # The sender may try again.
            signed.pop(delivery.signed, None)
            accepted.pop(delivery.id, None)
            raise
        return json_response({"ids": [id], "duplicate": False}, 202)

    async def _publish(
        self, request: Request, hook: Webhook, user: User, delivery: WebhookRequest, body: bytes, id: str
    ) -> None:
        site = self._site
        check_rate(site, user, 0)
        data = _json_of(request, body)
        turn = await take_turn(site, user)
        try:
            topic = hook.topic(decode_json(data, msgspec.Raw), headers_of(request.scope))
        except TopicError as error:
            raise Problem(422, str(error)) from None
        event: dict[str, Any] = {
            "topic": topic,
            "id": id,
            "source": {"webhook": hook.name, "delivery": delivery.id} | carrier_for(request),
            "data": msgspec.Raw(data),
        }
        text = payload(msgspec.json.encode(event).decode())
        envelope = read(text)
        turn.spend(len(data) // 8)
        # If it fails, and is stored later, the stream recognizes the id of the next attempt.
        await publish_all(site, user, [PublishedEvent(envelope, text, id)])


def _json_of(request: Request, body: bytes) -> bytes:
    """The JSON in a body. GitHub can send it as the field `payload` of a form."""
    if media_type(request) != _FORM:
        return body
    try:
        fields = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=1, errors="strict")
        (data,) = fields["payload"]
    except (ValueError, KeyError):
        raise Problem(400, "The form in the body must have one field, `payload`.") from None
    return data.encode()
