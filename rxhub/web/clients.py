"""`/api/subscribers`: the connected clients and their subscriptions, and which of them receive an event.

Administrators see all clients of this server, other users their own. Secrets in subscriptions and metadata are
replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rxhub.expression.pretty import redacted_subscription
from rxhub.redaction import redacted
from rxhub.server.client import CloseReason, ServerClient
from rxhub.server.envelope import read_argument
from rxhub.server.subscription import RoutedSubscription
from rxhub.server.users import User
from rxhub.web.authentication import authenticate
from rxhub.web.body import JSON, json_response, media_type, read_text
from rxhub.web.pace import Turn, check_rate, take_turn
from rxhub.web.parameters import integer, parameters, path_number
from rxhub.web.problems import Problem
from rxhub.web.site import Site

__all__ = ["client_routes", "require_admin", "visible_client"]

_DEFAULT_CLIENTS: Final = 100
_MAX_CLIENTS: Final = 1_000
_MAX_RECEIVERS: Final = 1_000
# Subscriptions of each client in a list of clients, and of one client.
_FIRST_SUBSCRIPTIONS: Final = 20
_MAX_SUBSCRIPTIONS: Final = 1_000
_MAX_BYTES: Final = 1024 * 1024
_STEPS_PER_CLIENT: Final = 3


def client_routes(site: Site) -> list[Route]:
    """The routes of clients and receivers."""
    clients = _Clients(site)
    return [
        Route("/subscribers", clients.list, methods=["GET"]),
        Route("/subscribers/{id}", clients.show, methods=["GET"]),
        Route("/subscribers/{id}", clients.disconnect, methods=["DELETE"]),
        Route("/receivers", clients.receivers, methods=["POST"]),
    ]


def require_admin(user: User) -> None:
    """Check that a user is an administrator.

    Raises:
        Problem: 403 if not.
    """
    if not user.is_admin:
        raise Problem(
            403,
            f"The user {user.name!r} is not an administrator. Add `admin = true` to the user in the users file, or add "
            "an administrator with `rxhub user add NAME --admin`.",
        )


def visible_client(site: Site, user: User, id: int) -> ServerClient[Any]:
    """A client that a user may see.

    Raises:
        Problem: 404 if there is none.
    """
    for client in _visible(site, user):
        if client.id == id:
            return client
    raise Problem(404, f"No client of this server has the number {id}; it may have disconnected.")


def _visible(site: Site, user: User) -> Iterable[ServerClient[Any]]:
    clients = site.server.connections
    Turn(site, user).spend(_STEPS_PER_CLIENT * len(clients))
    return (client for client in clients if user.is_admin or client.user == user.name)


class _Clients:
    """The endpoints."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._router = site.server.router

    async def list(self, request: Request) -> Response:
        """The clients, in the order in which they connected."""
        user = await authenticate(self._site, request)
        given = parameters(request, "after", "limit", "user")
        after, limit = integer(given, "after", 0), integer(given, "limit", _DEFAULT_CLIENTS, 1, _MAX_CLIENTS)
        check_rate(self._site, user)
        # A snapshot, because clients connect and disconnect between two turns.
        chosen = [
            client
            for client in _visible(self._site, user)
            if client.id > after and given.get("user", client.user) == client.user
        ]
        found: list[msgspec.Raw] = []
        size = 0
        turn = Turn(self._site, user)
        for client in chosen[:limit]:
            found.append(msgspec.Raw(msgspec.json.encode(await self._described(client, _FIRST_SUBSCRIPTIONS, turn))))
            size += len(memoryview(found[-1]))
            if size > _MAX_BYTES:
                break
        following = chosen[len(found) - 1].id if len(found) < len(chosen) else None
        return json_response({"subscribers": found, "next": following})

    async def show(self, request: Request) -> Response:
        """One client, with the metadata of its subscribers."""
        user = await authenticate(self._site, request)
        parameters(request)
        check_rate(self._site, user)
        client = visible_client(self._site, user, path_number(request))
        turn = Turn(self._site, user)
        return json_response(await self._described(client, _MAX_SUBSCRIPTIONS, turn, with_metadata=True))

    async def disconnect(self, request: Request) -> Response:
        """Disconnect a client. ftrack's clients and hubs connect again."""
        user = await authenticate(self._site, request)
        parameters(request)
        require_admin(user)
        check_rate(self._site, user)
        visible_client(self._site, user, path_number(request)).end(CloseReason.DISCONNECTED)
        return Response(status_code=204)

    async def receivers(self, request: Request) -> Response:
        """The subscribers that an event would be delivered to, in order."""
        site, router = self._site, self._router
        user = await authenticate(site, request)
        parameters(request)
        check_rate(site, user)
        if media_type(request) != JSON:
            raise Problem(415, f"Send an event as JSON with `Content-Type: {JSON}`.")
        argument = await read_text(site, request, user.name, site.server.options.limits.message)
        turn = await take_turn(site, user)
        with turn.metered():
            envelope, text = read_argument(argument)
            matches = router.match(envelope, text, publisher=user.name)
        visible = [match for match in matches if user.is_admin or match.user == user.name]
        found = [
            {"client": match.peer.id, "user": match.user, **self._subscriber(match, turn)}
            for match in visible[:_MAX_RECEIVERS]
        ]
        return json_response({"receivers": found, "total": len(visible)})

    async def _described(self, client: ServerClient[Any], most: int, turn: Turn, with_metadata: bool = False) -> Any:
        own = self._router.subscriptions_of(client)
        subscriptions: list[msgspec.Raw] = []
        size = 0
        # A copy, because the client can subscribe between two turns.
        for subscription in list(islice(own, most)):
            await turn.ready()
            described = self._subscriber(subscription, turn)
            if with_metadata:
                described["metadata"] = redacted(subscription.metadata)
                turn.spend(3 * subscription.metadata_bytes)
            subscriptions.append(msgspec.Raw(msgspec.json.encode(described)))
            size += len(memoryview(subscriptions[-1]))
            if size > _MAX_BYTES:
                break
        return {
            "id": client.id,
            "user": client.user,
            "address": client.address,
            "protocol": client.protocol,
            "connected": client.connected,
            "waiting": client.waiting,
            "sent": client.sent,
            "dropped": client.dropped,
            "subscriptions": subscriptions,
            "subscription_count": len(own),
        }

    def _subscriber(self, subscription: RoutedSubscription[Any], turn: Turn) -> dict[str, Any]:
        turn.spend(100 + 20 * subscription.conditions + len(subscription.text) // 10)
        return {
            "subscriber": subscription.metadata["id"],
            "subscription": redacted_subscription(subscription.text, subscription.tree),
        }
