"""Changes of streams and groups, for administrators: `/api/streams/{stream}` and `/api/groups/{group}`.

What deletes or repeats events is only done with `confirm=true`. Without it, the response states what would happen.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rxhub.errors import StreamError
from rxhub.transport.durable import Place, StreamLimits
from rxhub.web.authentication import authenticate
from rxhub.web.body import json_response, read_json
from rxhub.web.clients import require_admin
from rxhub.web.pace import check_rate
from rxhub.web.parameters import moment, parameters
from rxhub.web.problems import Problem
from rxhub.web.site import Site
from rxhub.web.stored import stored_problems

if TYPE_CHECKING:
    from rxhub.server.stored_contents import StoredContents

__all__ = ["LimitsRequest", "administration_routes"]

# A preview sends about a hundred requests to NATS, each of which counts as ten events.
_COST: Final = 1_000

_logger = logging.getLogger("rxhub.server")


class LimitsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request that changes limits of a stream; see `rxhub.transport.durable.StreamLimits`."""

    max_age: Annotated[float, Meta(ge=0, le=9e9)] | UnsetType = UNSET
    max_bytes: Annotated[int, Meta(ge=-1, le=2**62)] | UnsetType = UNSET
    discard: Literal["new", "old"] | UnsetType = UNSET
    replicas: Annotated[int, Meta(ge=1, le=5)] | UnsetType = UNSET

    def limits(self) -> StreamLimits:
        """The limits to change."""
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET}
        return cast("StreamLimits", given)


def administration_routes(site: Site) -> list[Route]:
    """The routes of changes."""
    changes = _Changes(site)
    return [
        Route("/streams/{stream}", changes.set_limits, methods=["PATCH"]),
        Route("/streams/{stream}", changes.remove_stream, methods=["DELETE"]),
        Route("/streams/{stream}/purge", changes.purge, methods=["POST"]),
        Route("/groups/{group}", changes.remove_group, methods=["DELETE"]),
        Route("/groups/{group}/pause", changes.pause, methods=["POST"]),
        Route("/groups/{group}/resume", changes.resume, methods=["POST"]),
        Route("/groups/{group}/reset", changes.reset, methods=["POST"]),
    ]


class _Changes:
    """The endpoints."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def set_limits(self, request: Request) -> Response:
        """Change limits of a stream."""
        user, given = await self._begin(request, "confirm")
        limit = self._site.server.options.limits.message
        limits = (await read_json(self._site, request, user, limit, LimitsRequest)).limits()
        is_confirmed, name = _is_confirmed(given), request.path_params["stream"]
        with self._changing() as stored:
            loss = await stored.changes.preview_limits(name, **limits)
            if is_confirmed:
                await stored.changes.set_limits(name, **limits)
                _log(user, f"changed the limits of the stream {name}: {limits}")
        return json_response({"done": is_confirmed, "loss": loss.to_json()})

    async def remove_stream(self, request: Request) -> Response:
        """Remove a stream that this server does not use."""
        user, given = await self._begin(request, "confirm")
        is_confirmed, name = _is_confirmed(given), request.path_params["stream"]
        with self._changing() as stored:
            loss = await stored.changes.preview_remove(name)
            if name == stored.stream:
                raise Problem(409, f"This server stores its events in {name}. Stop it, and run `rxhub streams remove`.")
            if is_confirmed:
                await stored.changes.remove(name)
                _log(user, f"removed the stream {name}")
        return json_response({"done": is_confirmed, "loss": loss.to_json()})

    async def purge(self, request: Request) -> Response:
        """Delete events of a stream."""
        user, given = await self._begin(request, "topic", "until", "confirm")
        is_confirmed, name = _is_confirmed(given), request.path_params["stream"]
        topic, until = given.get("topic"), moment(given, "until")
        purged = 0
        with self._changing() as stored:
            loss = await stored.changes.preview_purge(name, topic, until)
            if is_confirmed and loss.events:
                # No event that was stored after the preview.
                purged = await stored.changes.purge(name, topic, loss.last_sequence)
                _log(user, f"purged {purged} events of the stream {name}")
        return json_response({"done": is_confirmed, "loss": loss.to_json(), "purged": purged})

    async def remove_group(self, request: Request) -> Response:
        """Remove a group."""
        user, given = await self._begin(request, "confirm")
        is_confirmed, name = _is_confirmed(given), request.path_params["group"]
        with self._changing() as stored:
            state = await stored.groups.state(name)
            if is_confirmed:
                await stored.groups.remove(name)
                _log(user, f"removed the group {name}")
        return json_response({"done": is_confirmed, "group": state._asdict()})

    async def pause(self, request: Request) -> Response:
        """Pause a group."""
        user, _ = await self._begin(request)
        name = request.path_params["group"]
        with self._changing() as stored:
            await stored.groups.pause(name)
        _log(user, f"paused the group {name}")
        return Response(status_code=204)

    async def resume(self, request: Request) -> Response:
        """Resume a group."""
        user, _ = await self._begin(request)
        name = request.path_params["group"]
        with self._changing() as stored:
            await stored.groups.resume(name)
        _log(user, f"resumed the group {name}")
        return Response(status_code=204)

    async def reset(self, request: Request) -> Response:
        """Let a group continue at another place."""
        user, given = await self._begin(request, "to", "event", "confirm")
        is_confirmed, name, place = _is_confirmed(given), request.path_params["group"], _place(given)
        with self._changing() as stored:
            change = await stored.groups.preview_reset(name, place)
            if is_confirmed:
                await stored.groups.reset(name, change.sequence)
                _log(user, f"reset the group {name} to {change.sequence}")
        return json_response({"done": is_confirmed, **change._asdict()})

    async def _begin(self, request: Request, *names: str) -> tuple[str, dict[str, str]]:
        user = await authenticate(self._site, request)
        given = parameters(request, *names)
        check_rate(self._site, user, _COST)
        require_admin(user)
        return user.name, given

    @contextmanager
    def _changing(self) -> Generator[StoredContents]:
        """What is stored; errors become problems."""
        with stored_problems(self._site) as stored:
            try:
                yield stored
            except ValueError as error:
                raise Problem(422, str(error)) from None
            except StreamError as error:
                raise Problem(409, str(error)) from None


def _place(given: dict[str, str]) -> Place:
    to, event = given.get("to"), given.get("event")
    if bool(to) == bool(event):
        raise Problem(400, "Send either `to=PLACE` (`first`, a time, a duration before now, a sequence) or `event=ID`.")
    if event:
        return event
    place: Any = "first" if to == "first" else moment(given, "to")
    return place


def _is_confirmed(given: dict[str, str]) -> bool:
    if given.get("confirm", "true") != "true":
        raise Problem(400, "The parameter 'confirm' must be `true`. Without it, nothing is changed.")
    return "confirm" in given


def _log(user: str, change: str) -> None:
    _logger.info("The user %s %s.", user, change)
