"""`POST /api/explain`: what a subscription means, and why an event matches it or not."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rxhub.expression import Expression, explain
from rxhub.expression.near_miss import misspelling_warning
from rxhub.expression.pretty import tree_json
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded
from rxhub.server.envelope import candidate_of, decoding_steps
from rxhub.server.users import User
from rxhub.web.authentication import authenticate
from rxhub.web.body import decode_json, json_response, read_json
from rxhub.web.clients import visible_client
from rxhub.web.pace import Turn, check_rate
from rxhub.web.parameters import parameters
from rxhub.web.problems import Problem
from rxhub.web.site import Site
from rxhub.web.subscription_text import parse_subscription

__all__ = ["ExplainRequest", "explain_routes"]

_NULL: Final = msgspec.Raw(b"null")


class ExplainRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of the request.

    Attributes:
        subscription: the text of a subscription.
        client: instead of a text, the number of a connected client,
        subscriber: and the id of one of its subscribers.
        event: what the subscription is tested against; null explains the subscription alone.
    """

    subscription: str | None = None
    client: int | None = None
    subscriber: str | None = None
    event: msgspec.Raw = _NULL


def explain_routes(site: Site) -> list[Route]:
    """The route."""
    limits = site.server.options.limits

    async def explain_subscription(request: Request) -> Response:
        user = await authenticate(site, request)
        parameters(request)
        check_rate(site, user)
        asked = await read_json(site, request, user.name, limits.message, ExplainRequest)
        turn = Turn(site, user)
        with await _limited(site, turn) as work:
            event = _decoded(bytes(asked.event).decode(), work)
        with await _limited(site, turn) as work:
            tree = _tree(site, user, asked, work)
            warning = misspelling_warning(tree.without_secrets())
            if event is None:
                return json_response({"tree": tree_json(tree), "warning": warning})
            explanation = explain(tree, event)
            content = {"matched": explanation.matched, "tree": explanation.to_json(), "warning": warning}
            return json_response(content)

    return [Route("/explain", explain_subscription, methods=["POST"])]


async def _limited(site: Site, turn: Turn) -> AbstractContextManager[StepBudget]:
    """Wait for a turn, and limit the work of a `with` block."""
    await turn.ready()
    return _counted(site.server.options.limits.work, turn)


@contextmanager
def _counted(limit: int, turn: Turn) -> Generator[StepBudget]:
    work = StepBudget(limit)
    try:
        with work:
            yield work
    except StepBudgetExceeded:
        raise Problem(
            422,
            f"This explanation takes more than {limit} steps of work, the server's limit `work`. Use fewer conditions, "
            "or an event with less data.",
        ) from None
    finally:
        turn.spend(work.steps)


def _decoded(text: str, work: StepBudget) -> dict[str, Any] | None:
    if text == "null":
        return None
    work.spend(decoding_steps(text))
    return candidate_of(decode_json(text.encode(), dict[str, Any]))


def _tree(site: Site, user: User, asked: ExplainRequest, work: StepBudget) -> Expression:
    text = asked.subscription
    if (text is None) == (asked.client is None or asked.subscriber is None):
        raise Problem(422, "Send either `subscription`, or `client` and `subscriber`.")
    if text is None:
        assert asked.client is not None, "checked above"
        client = visible_client(site, user, asked.client)
        for subscription in site.server.router.subscriptions_of(client):
            if subscription.metadata["id"] == asked.subscriber:
                return subscription.tree
        raise Problem(404, f"The client {asked.client} has no subscriber with this id.")
    return parse_subscription(text, site.server.options.limits, work)
