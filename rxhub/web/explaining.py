"""`POST /api/explain`: what a subscription means, and why an event matches it or not."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rxhub.expression import Expression, explain
from rxhub.expression.near_miss import misspelling_warning
from rxhub.expression.pretty import tree_json
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded
from rxhub.server.envelope import candidate_of
from rxhub.server.users import User
from rxhub.web.authentication import authenticate
from rxhub.web.body import json_response, read_json
from rxhub.web.clients import visible_client
from rxhub.web.pace import check_rate, take_turn
from rxhub.web.parameters import parameters
from rxhub.web.problems import Problem
from rxhub.web.site import Site
from rxhub.web.subscription_text import parse_subscription

__all__ = ["ExplainRequest", "explain_routes"]


class ExplainRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of the request.

    Attributes:
        subscription: the text of a subscription.
        client: instead of a text, the number of a connected client,
        subscriber: and the id of one of its subscribers.
        event: what the subscription is tested against; None explains the subscription alone.
    """

    subscription: str | None = None
    client: int | None = None
    subscriber: str | None = None
    event: dict[str, Any] | None = None


def explain_routes(site: Site) -> list[Route]:
    """The route."""
    limits = site.server.options.limits

    async def explain_subscription(request: Request) -> Response:
        user = await authenticate(site, request)
        parameters(request)
        check_rate(site, user)
        asked = await read_json(site, request, user.name, limits.message, ExplainRequest)
        turn = await take_turn(site, user)
        work = StepBudget(limits.work)
        try:
            with work:
                return json_response(_explain(site, user, asked, work))
        except StepBudgetExceeded:
            raise Problem(
                422,
                f"This explanation takes more than {limits.work} steps of work, the server's limit `work`. Use fewer "
                "conditions, or an event with less data.",
            ) from None
        finally:
            turn.spend(work.steps)

    return [Route("/explain", explain_subscription, methods=["POST"])]


def _explain(site: Site, user: User, asked: ExplainRequest, work: StepBudget) -> dict[str, Any]:
    tree = _tree(site, user, asked, work)
    warning = misspelling_warning(tree.without_secrets())
    if asked.event is None:
        return {"tree": tree_json(tree), "warning": warning}
    explanation = explain(tree, candidate_of(asked.event))
    return {"matched": explanation.matched, "tree": explanation.to_json(), "warning": warning}


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
