"""The share of a user in the work of the server: the same rate and turns as for events on a WebSocket."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from rxhub.errors import Refused
from rxhub.server.rate_limit import STEPS_PER_EVENT
from rxhub.server.users import User
from rxhub.web.problems import Problem
from rxhub.web.site import Site

__all__ = ["Turn", "check_rate", "counted", "take_turn"]

_MIN_STEPS: Final = 200


def check_rate(site: Site, user: User, events: float = 1.0) -> None:
    """Charge a request to the rate of a user.

    Args:
        site: the server.
        user: of the request.
        events: the number of events that the request counts as.

    Raises:
        Problem: 429 if the rate is used up.
    """
    rate = site.server.rate(user.name)
    if not rate.is_ready:
        raise Problem(429, f"The user {user.name!r} sends too much. Wait a second.", {"retry-after": "1"})
    rate.reserve(events)


@contextmanager
def counted(site: Site, user: User) -> Generator[None]:
    """Count a request as a client of the user during a `with` block.

    Raises:
        Problem: 429 if there are too many clients, 503 if the server is shutting down.
    """
    server = site.server
    if server.is_closing:
        raise Problem(503, "The server is shutting down.", {"retry-after": "5"})
    try:
        server.check_room(user.name)
    except Refused as error:
        raise Problem(429, str(error), {"retry-after": "5"}) from None
    with server.request_of(user.name):
        yield


async def take_turn(site: Site, user: User) -> Turn:
    """Wait until it is the user's turn to use the processor."""
    turn = Turn(site, user)
    await turn.ready()
    return turn


class Turn:
    """Counts the work of a request, and charges it to the rate of the user."""

    def __init__(self, site: Site, user: User) -> None:
        self._site = site
        self._user = user

    async def ready(self) -> None:
        """Wait until it is the user's turn. Call it before each piece of work of some milliseconds."""
        turns = self._site.server.reading
        if not turns.is_free:
            await turns.wait(self._user.name)

    def spend(self, steps: int) -> None:
        """Count steps, see `rxhub.server.limits.Limits.work`."""
        self._site.server.reading.spend(steps)
        self._site.server.rate(self._user.name).reserve(steps / STEPS_PER_EVENT)

    @contextmanager
    def metered(self) -> Generator[None]:
        """Count the steps that the router's meter counts during a `with` block."""
        meter = self._site.server.router.meter
        before = meter.steps
        try:
            yield
        finally:
            self.spend(max(_MIN_STEPS, meter.steps - before))
