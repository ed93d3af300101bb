"""`GET /api/openapi.json`: the description of the HTTP interface in OpenAPI 3.1.

https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import rxhub
from rxhub.web.authentication import check_access
from rxhub.web.body import JSON, json_response
from rxhub.web.openapi_schemas import SCHEMAS, array, integer, nullable, obj, ref, string
from rxhub.web.parameters import parameters
from rxhub.web.problems import PROBLEM_JSON
from rxhub.web.sessions import cookie_name
from rxhub.web.site import Site

__all__ = ["OPERATIONS", "description", "openapi_routes"]

_CLOUDEVENT: Final = "application/cloudevents+json"
_CLOUDEVENTS: Final = "application/cloudevents-batch+json"
_LINES: Final = "application/x-ndjson"
_SSE: Final = "text/event-stream"


def _parameter(name: str, schema: dict[str, Any], description: str, place: str = "query") -> dict[str, Any]:
    is_required = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "description": description, "schema": schema, **is_required}


def _operation(
    id: str,
    summary: str,
    responses: dict[int, Any],
    parameters: Iterable[dict[str, Any]] = (),
    body: dict[str, Any] | None = None,
    is_public: bool = False,
) -> dict[str, Any]:
    """An operation.

    Args:
        id: its name for generated clients.
        summary: what it does.
        responses: the schema of each status, the schemas by media type, or None if there is no content.
        parameters: in the query and in the path.
        body: schemas by media type.
        is_public: whether it needs no user.
    """
    found: dict[str, Any] = {"operationId": id, "summary": summary}
    if given := list(parameters):
        found["parameters"] = given
    if body is not None:
        found["requestBody"] = {"required": True, "content": _content(body)}
    found["responses"] = {f"{status}": _response(schema) for status, schema in responses.items()}
    found["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
    if is_public:
        found["security"] = []
    return found


def _response(schema: dict[str, Any] | None) -> dict[str, Any]:
    if schema is None:
        return {"description": "Success, without content."}
    by_type = schema if any("/" in name for name in schema) else {JSON: schema}
    return {"description": "Success.", "content": _content(by_type)}


def _content(by_type: dict[str, Any]) -> dict[str, Any]:
    return {media_type: {"schema": schema} for media_type, schema in by_type.items()}


_ID: Final = _parameter("id", integer(0, 2**63 - 1), "Number of the client or dead letter.", "path")
_AFTER: Final = _parameter("after", integer(0, 2**63 - 1), "Only entries with a higher number, for the next page.")
_GROUP: Final = _parameter("group", string(), "Only of this group.")
_MANY: Final = (
    _parameter("ids", string(pattern=r"^[0-9]+(,[0-9]+)*$"), "Numbers of dead letters, separated by commas."),
    _parameter("all", {"const": "true"}, "All dead letters, or all of `group`."),
    _GROUP,
)

_STREAM_NAME: Final = _parameter("stream", string(), "Name of the stream.", "path")
_GROUP_NAME: Final = _parameter("group", string(), "Name of the group.", "path")
_CONFIRM: Final = _parameter("confirm", {"const": "true"}, "Without it, nothing is changed.")
_DONE: Final[dict[str, Any]] = {"done": {"type": "boolean"}}


def _limit(default: int, most: int) -> dict[str, Any]:
    return _parameter("limit", integer(1, most) | {"default": default}, "Maximum number of entries.")


OPERATIONS: Final[dict[str, dict[str, Any]]] = {
    "POST /api/events": _operation(
        "publishEvents",
        "Publish one event, an array, lines of JSON, or CloudEvents 1.0. Several events are published in order.",
        {
            200: {JSON: ref("Replies"), _LINES: string()},
            202: obj({"ids": array(string())}),
        },
        [
            _parameter("reply", {"type": "number", "minimum": 0, "maximum": 300}, "Seconds to wait for replies."),
            _parameter("count", integer(1, 1_000), "Respond after this many replies."),
        ],
        {
            JSON: {"anyOf": [ref("NewEvent"), array(ref("NewEvent"), 1, 1_000)]},
            _LINES: string(),
            _CLOUDEVENT: ref("CloudEvent"),
            _CLOUDEVENTS: array(ref("CloudEvent"), 1, 1_000),
        },
    ),
    "GET /api/events": _operation(
        "streamEvents",
        "Receive the events that match a subscription, as Server-Sent Events or lines of JSON.",
        {200: {_SSE: string(), _LINES: string()}},
        [
            _parameter("subscription", string(), "For example `topic=studio.*`.") | {"required": True},
            _parameter("since", string(), "With a store: `first`, a sequence, a time, or a duration before now."),
            _parameter("until", string(), "With a store: a sequence, a time, or a duration before now."),
            _parameter("format", {"const": "cloudevents"}, "Send CloudEvents 1.0."),
            _parameter("Last-Event-ID", string(), "With a store: continue after this event.", "header"),
        ],
    ),
    "POST /api/explain": _operation(
        "explain",
        "Explain a subscription, and why an event matches it or not. If it cannot be parsed: 422 with `position`.",
        {200: ref("Explanation")},
        body={JSON: ref("ExplainRequest")},
    ),
    "GET /api/subscribers": _operation(
        "listSubscribers",
        "The connected clients. Users who are not administrators see their own.",
        {200: obj({"subscribers": array(ref("Client")), "next": nullable(integer())})},
        [_AFTER, _limit(100, 1_000), _parameter("user", string(), "Only clients of this user.")],
    ),
    "GET /api/subscribers/{id}": _operation(
        "showSubscriber", "One client, with the metadata of its subscribers.", {200: ref("Client")}, [_ID]
    ),
    "DELETE /api/subscribers/{id}": _operation(
        "disconnectSubscriber", "Disconnect a client. Only for administrators.", {204: None}, [_ID]
    ),
    "POST /api/receivers": _operation(
        "listReceivers",
        "The subscribers that would receive an event, in order. Nothing is delivered.",
        {200: obj({"receivers": array(ref("Receiver")), "total": integer()})},
        body={JSON: ref("NewEvent")},
    ),
    "GET /api/streams": _operation(
        "listStreams", "The streams of events.", {200: obj({"streams": array(ref("Stream"))})}
    ),
    "GET /api/histogram": _operation(
        "countEvents",
        "The number of stored events in spans of time of equal length.",
        {200: obj({"stream": string(), "bins": array(ref("Bin"))})},
        [_parameter("bins", integer(1, 200), "Number of spans.")],
    ),
    "GET /api/groups": _operation(
        "listGroups", "The groups of processes.", {200: obj({"groups": array(ref("Group"))})}
    ),
    "POST /api/groups/{group}/replay": _operation(
        "replayIntoGroup",
        "Deliver stored events to a group again, up to 1,000 per request. Only for administrators.",
        {200: obj({"replayed": integer(), "next": nullable(integer())})},
        [_GROUP_NAME],
        {JSON: ref("ReplayRequest")},
    ),
    "PATCH /api/streams/{stream}": _operation(
        "setStreamLimits",
        "Change limits of a stream, or show what this would delete. Only for administrators.",
        {200: obj({**_DONE, "loss": ref("Loss")})},
        [_STREAM_NAME, _CONFIRM],
        {JSON: ref("LimitsRequest")},
    ),
    "DELETE /api/streams/{stream}": _operation(
        "removeStream",
        "Remove a stream that this server does not use, or show what this would delete. Only for administrators.",
        {200: obj({**_DONE, "loss": ref("Loss")})},
        [_STREAM_NAME, _CONFIRM],
    ),
    "POST /api/streams/{stream}/purge": _operation(
        "purgeStream",
        "Delete events of a stream, or show which. Only for administrators.",
        {200: obj({**_DONE, "loss": ref("Loss"), "purged": integer(0)})},
        [
            _STREAM_NAME,
            _parameter("topic", string(), "Only events of this topic, or of a prefix that ends with `.*`."),
            _parameter("until", string(), "Only events up to a sequence, a time, or a duration before now."),
            _CONFIRM,
        ],
    ),
    "DELETE /api/groups/{group}": _operation(
        "removeGroup",
        "Remove a group, or show its state. Only for administrators.",
        {200: obj({**_DONE, "group": {"type": "object"}})},
        [_GROUP_NAME, _CONFIRM],
    ),
    "POST /api/groups/{group}/pause": _operation(
        "pauseGroup", "Deliver no events to a group. Only for administrators.", {204: None}, [_GROUP_NAME]
    ),
    "POST /api/groups/{group}/resume": _operation(
        "resumeGroup", "Let a paused group continue. Only for administrators.", {204: None}, [_GROUP_NAME]
    ),
    "POST /api/groups/{group}/reset": _operation(
        "resetGroup",
        "Let a group continue at another place, or show what it would repeat or skip. Only for administrators.",
        {200: obj({**_DONE, "sequence": integer(1), "repeated": integer(0), "skipped": integer(0)})},
        [
            _GROUP_NAME,
            _parameter("to", string(), "`first`, a sequence, a time, or a duration before now."),
            _parameter("event", string(), "Instead: the id of an event."),
            _CONFIRM,
        ],
    ),
    "GET /api/dead-letters": _operation(
        "listDeadLetters",
        "The dead letters, oldest first. A page ends after about 1 MiB.",
        {200: obj({"dead_letters": array(ref("DeadLetter")), "next": nullable(integer())})},
        [
            _AFTER,
            _limit(100, 1_000),
            _GROUP,
            _parameter("since", string(), "A time, a duration before now, or a number."),
        ],
    ),
    "GET /api/dead-letters/{id}": _operation("showDeadLetter", "One dead letter.", {200: ref("DeadLetter")}, [_ID]),
    "POST /api/dead-letters/{id}/retry": _operation(
        "retryDeadLetter", "Deliver a dead letter to its group again. Only for administrators.", {204: None}, [_ID]
    ),
    "DELETE /api/dead-letters/{id}": _operation(
        "dropDeadLetter", "Delete a dead letter. Only for administrators.", {204: None}, [_ID]
    ),
    "POST /api/dead-letters/retry": _operation(
        "retryDeadLetters",
        "Deliver dead letters to their groups again, up to 1,000 of `all`. Only for administrators.",
        {200: obj({"retried": integer(), "missing": array(integer()), "more": {"type": "boolean"}})},
        _MANY,
    ),
    "DELETE /api/dead-letters": _operation(
        "dropDeadLetters",
        "Delete dead letters. Only for administrators.",
        {200: obj({"dropped": integer(), "missing": array(integer())})},
        _MANY,
    ),
    "POST /hooks/{name}": _operation(
        "receiveWebhook",
        "Receive a signed request of another service, and publish it as an event.",
        {202: obj({"ids": array(string()), "duplicate": {"type": "boolean"}})},
        [_parameter("name", string(), "Name in the file of `--webhooks`.", "path")],
        {JSON: {}, "application/x-www-form-urlencoded": obj({"payload": string()})},
        is_public=True,
    ),
    "GET /api/user": _operation("showUser", "The user of the request, and the user's rules.", {200: ref("User")}),
    "GET /api/session": _operation("showSession", "The session of the console.", {200: ref("Session")}),
    "POST /api/session": _operation(
        "signIn",
        "Sign in to the console: with a user and key, or with the token of a sign-in link.",
        {200: ref("Session")},
        body={JSON: ref("SignIn")},
        is_public=True,
    ),
    "DELETE /api/session": _operation("signOut", "Sign out of the console.", {204: None}),
    "GET /api/openapi.json": _operation("describe", "This description.", {200: {"type": "object"}}, is_public=True),
}


def openapi_routes(site: Site) -> list[Route]:
    """The route of the description."""

    async def describe(request: Request) -> Response:
        await check_access(site, request)
        parameters(request)
        root = request.scope.get("root_path", "").removesuffix("/api")
        return json_response(description(root or "/", cookie_name(request.scope)))

    return [Route("/openapi.json", describe, methods=["GET"])]


def _paths() -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for key, operation in OPERATIONS.items():
        method, _, path = key.partition(" ")
        paths.setdefault(path, {})[method.lower()] = operation
    return paths


def description(url: str, cookie: str) -> dict[str, Any]:
    """The description of a server.

    Args:
        url: of the server.
        cookie: the name of the console's cookie.
    """
    return {
        "openapi": "3.1.0",
        "servers": [{"url": url}],
        "info": {
            "title": "rxhub",
            "version": rxhub.__version__,
            "description": "Publish, receive and explain events, and administer an event server.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(),
        "security": [{"bearer": []}, {"basic": []}, {"session": [], "csrf": []}],
        "components": {
            "schemas": SCHEMAS,
            "responses": {
                "Problem": {
                    "description": "The request failed (RFC 9457).",
                    "content": _content({PROBLEM_JSON: ref("Problem")}),
                }
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "`USER:KEY`"},
                "basic": {"type": "http", "scheme": "basic"},
                "session": {"type": "apiKey", "in": "cookie", "name": cookie},
                "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token"},
            },
        },
    }
