"""`/api/streams`, `/api/groups`, `/api/histogram` and `/api/dead-letters`: what the server's backplane stores.

Administrators see all streams of the NATS system and all dead letters, and retry and drop these. Other users see the
stream of this server, and the dead letters with topics that they may receive.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rxhub.errors import HubConnectionError, NotFoundError, StreamError
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded
from rxhub.server.users import User
from rxhub.transport.durable import StreamState
from rxhub.web.authentication import authenticate
from rxhub.web.body import json_response, read_json
from rxhub.web.clients import require_admin
from rxhub.web.pace import check_rate, take_turn
from rxhub.web.parameters import integer, moment, parameters, path_number
from rxhub.web.problems import Problem
from rxhub.web.site import Site
from rxhub.web.subscription_text import parse_subscription

if TYPE_CHECKING:
    from rxhub.server.stored_contents import StoredContents
    from rxhub.transport.nats.dead_letter import DeadLetter
    from rxhub.transport.nats.dead_letters import StoredDeadLetters

__all__ = ["ReplayRequest", "stored_problems", "stored_routes"]

_DEFAULT_LETTERS: Final = 100
_MAX_LETTERS: Final = 1_000
"""Dead letters that one request reads, retries or drops one by one."""

_MAX_BYTES: Final = 1024 * 1024
# A request to NATS counts as this many events of a user's rate.
_REQUEST_COST: Final = 10
# Two requests for each span.
_HISTOGRAM_COST: Final = 500
# Reads and stores a thousand events.
_REPLAY_COST: Final = 2_000
_DEFAULT_BINS: Final = 60
_MAX_BINS: Final = 200

_logger = logging.getLogger("rxhub.server")


def stored_routes(site: Site) -> list[Route]:
    """The routes of streams, groups and dead letters."""
    stored = _Stored(site)
    return [
        Route("/streams", stored.streams, methods=["GET"]),
        Route("/groups", stored.groups, methods=["GET"]),
        Route("/groups/{group}/replay", stored.replay, methods=["POST"]),
        Route("/histogram", stored.histogram, methods=["GET"]),
        Route("/dead-letters", stored.list, methods=["GET"]),
        Route("/dead-letters", stored.drop, methods=["DELETE"]),
        Route("/dead-letters/retry", stored.retry, methods=["POST"]),
        Route("/dead-letters/{id}", stored.show, methods=["GET"]),
        Route("/dead-letters/{id}", stored.drop_one, methods=["DELETE"]),
        Route("/dead-letters/{id}/retry", stored.retry_one, methods=["POST"]),
    ]


class ReplayRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request that replays events into a group.

    Attributes:
        subscription: which events; empty for all.
        since: the begin of the range; None is the first event.
        until: its end, which is included; None is now.
        sequence: where to continue, from the response before.
    """

    subscription: str = ""
    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    sequence: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0


class _Stored:
    """The endpoints."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def streams(self, request: Request) -> Response:
        """The streams, by name."""
        _, states = await self._states(request)
        return json_response({"streams": [state.to_json() for state in states]})

    async def groups(self, request: Request) -> Response:
        """The groups of all streams."""
        _, states = await self._states(request)
        groups = [{"stream": state.name, **group._asdict()} for state in states for group in state.groups]
        return json_response({"groups": groups})

    async def histogram(self, request: Request) -> Response:
        """The number of events that this server's stream stores, in spans of time of equal length."""
        _, given = await self._begin(request, "bins", cost=_HISTOGRAM_COST)
        number = integer(given, "bins", _DEFAULT_BINS, 1, _MAX_BINS)
        with stored_problems(self._site) as stored:
            bins = await stored.event_counts(number)
        return json_response({"stream": stored.stream, "bins": [each._asdict() for each in bins]})

    async def replay(self, request: Request) -> Response:
        """Deliver stored events to a group again, a thousand per request."""
        user, _ = await self._begin(request, cost=_REPLAY_COST)
        require_admin(user)
        limits = self._site.server.options.limits
        asked = await read_json(self._site, request, user.name, limits.message, ReplayRequest)
        turn = await take_turn(self._site, user)
        work = StepBudget(limits.work)
        try:
            with work:
                expression = parse_subscription(asked.subscription, limits, work)
        except StepBudgetExceeded:
            raise Problem(422, "Parsing this subscription takes too much work. Use fewer conditions.") from None
        finally:
            turn.spend(work.steps)
        with stored_problems(self._site) as stored:
            until = asked.until or datetime.now(UTC)
            replay = stored.group_replay(request.path_params["group"], expression, until, limits.work)
            sequence = asked.sequence or (1 if asked.since is None else await replay.first(asked.since))
            replayed = await replay.run(sequence, _MAX_LETTERS)
        return json_response({"replayed": replayed.events, "next": replayed.next})

    async def list(self, request: Request) -> Response:
        """The dead letters, oldest first."""
        user, given = await self._begin(request, "group", "since", "after", "limit")
        limit = integer(given, "limit", _DEFAULT_LETTERS, 1, _MAX_LETTERS)
        last, since = integer(given, "after", 0), moment(given, "since")
        letters: list[msgspec.Raw] = []
        size = read = 0
        is_complete = False
        with stored_problems(self._site) as stored:
            dead = stored.dead_letters
            # Letters that the user may not see count as read, because reading them takes as long.
            while len(letters) < limit and size < _MAX_BYTES and read < _MAX_LETTERS:
                letter = await dead.next(last + 1, given.get("group"))
                if letter is None:
                    is_complete = True
                    break
                last, read = letter.id, read + 1
                if _may_see(user, letter) and (since is None or letter.is_since(since)):
                    letters.append(msgspec.Raw(msgspec.json.encode(letter.to_json())))
                    size += len(memoryview(letters[-1]))
        return json_response({"dead_letters": letters, "next": None if is_complete else last})

    async def show(self, request: Request) -> Response:
        """One dead letter."""
        user, _ = await self._begin(request)
        with stored_problems(self._site) as stored:
            letter = await stored.dead_letters.get(path_number(request))
        if not _may_see(user, letter):
            raise Problem(404, f"There is no dead letter {letter.id} that the user {user.name!r} may see.")
        return json_response(letter.to_json())

    async def retry_one(self, request: Request) -> Response:
        """Deliver a dead letter to its group again."""
        await self._begin_change(request)
        with stored_problems(self._site) as stored:
            await stored.dead_letters.retry(path_number(request))
        return Response(status_code=204)

    async def drop_one(self, request: Request) -> Response:
        """Delete a dead letter."""
        await self._begin_change(request)
        with stored_problems(self._site) as stored:
            await stored.dead_letters.drop(path_number(request))
        return Response(status_code=204)

    async def retry(self, request: Request) -> Response:
        """Deliver many dead letters to their groups again."""
        chosen, group = await self._begin_many(request)
        with stored_problems(self._site) as stored:
            dead = stored.dead_letters
            ids = chosen or [letter.id async for letter in _first(dead, group)]
            done, missing = await _each(dead.retry, ids)
        return json_response({"retried": done, "missing": missing, "more": not chosen and len(ids) == _MAX_LETTERS})

    async def drop(self, request: Request) -> Response:
        """Delete many dead letters."""
        chosen, group = await self._begin_many(request)
        with stored_problems(self._site) as stored:
            if not chosen:
                return json_response({"dropped": await stored.dead_letters.drop("all", group), "missing": []})
            done, missing = await _each(stored.dead_letters.drop, chosen)
        return json_response({"dropped": done, "missing": missing})

    async def _states(self, request: Request) -> tuple[User, tuple[StreamState, ...]]:
        user, _ = await self._begin(request)
        with stored_problems(self._site) as stored:
            states = await stored.streams()
            return user, tuple([each for each in states if user.is_admin or each.name == stored.stream])

    async def _begin(self, request: Request, *names: str, cost: float = _REQUEST_COST) -> tuple[User, dict[str, str]]:
        user = await authenticate(self._site, request)
        given = parameters(request, *names)
        check_rate(self._site, user, cost)
        return user, given

    async def _begin_change(self, request: Request, *names: str) -> dict[str, str]:
        user, given = await self._begin(request, *names)
        require_admin(user)
        return given

    async def _begin_many(self, request: Request) -> tuple[list[int], str | None]:
        """The numbers of dead letters; none for all, or all of a group."""
        given = await self._begin_change(request, "ids", "all", "group")
        is_one_of_both = ("ids" in given) != ("all" in given)
        if not is_one_of_both or given.get("all", "true") != "true" or {"ids", "group"} <= given.keys():
            raise Problem(400, "Send either `ids=1,2,3`, or `all=true`, with `group=NAME` for one group.")
        ids = given["ids"].split(",") if "ids" in given else []
        if len(ids) > _MAX_LETTERS:
            raise Problem(400, f"Send {_MAX_LETTERS} numbers of dead letters at most.")
        return [integer({"ids": id}, "ids", 0, 1) for id in ids], given.get("group")


async def _first(dead: StoredDeadLetters, group: str | None) -> AsyncIterator[DeadLetter]:
    """The dead letters that one request retries."""
    next_id = 1
    for _ in range(_MAX_LETTERS):
        if (letter := await dead.next(next_id, group)) is None:
            return
        yield letter
        next_id = letter.id + 1


async def _each(change: Callable[[int], Awaitable[int]], ids: list[int]) -> tuple[int, list[int]]:
    """Change dead letters one by one; returns the number of changes, and the letters that do not exist."""
    done = 0
    missing: list[int] = []
    for id in ids:
        try:
            done += await change(id)
        except NotFoundError:
            missing.append(id)
    return done, missing


def _may_see(user: User, letter: DeadLetter) -> bool:
    return user.is_admin or letter.topic in user.subscribe


@contextmanager
def stored_problems(site: Site) -> Generator[StoredContents]:
    """What the server's backplane stores; errors become problems."""
    backplane = site.server.options.backplane
    if backplane is None:
        raise Problem(
            404,
            "This server does not store events. Start it with `rxhub serve --store DIR` or `--nats URL` (backplane=).",
        )
    try:
        yield backplane.contents
    except NotFoundError as error:
        raise Problem(404, str(error)) from None
    except (HubConnectionError, StreamError) as error:
        _logger.warning("Cannot answer a request about stored events: %s", error)
        raise Problem(503, "NATS cannot be reached or rejected the request.", {"retry-after": "5"}) from None
