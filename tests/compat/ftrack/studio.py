"""A minimal ftrack server: the HTTP API that a session uses, and rxhub's event server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from rxhub.server import User, Users, application

__all__ = ["KEY", "USER", "Studio", "studio"]

USER, KEY = "artist", "a-key-of-sixteen-characters-or-more"


@dataclass(frozen=True)
class Studio:
    server_url: str
    api_user: str = USER
    api_key: str = KEY


def _schema(name: str, **properties: Any) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "id": name,
        "type": "object",
        "primary_key": ["id"],
        "immutable": ["id"],
        "computed": [],
        "default_projections": ["id"],
        "properties": {"id": {"type": "string", "default": "{uid}"}, "name": text, **properties},
    }


_ANSWERS: dict[str, Any] = {
    "query_server_information": {"version": "4.13.8", "schema_hash": "1", "is_nested_schema": False},
    "query_schemas": [_schema("Location"), _schema("Task"), _schema("User", username={"type": "string"})],
    "query": {"action": "query", "data": [], "metadata": {"next": {"offset": None}}},
}


async def _api(request: Request) -> JSONResponse:
    if (request.headers.get("ftrack-user"), request.headers.get("ftrack-api-key")) != (USER, KEY):
        return JSONResponse({"exception": "AuthenticationError", "content": "who are you?"})
    actions = json.loads(await request.body())
    return JSONResponse([_ANSWERS[action["action"]] for action in actions])


@contextmanager
def studio() -> Generator[Studio]:
    """Run the server on a free port during a block."""
    events = application(Users([User.with_key(USER, KEY)]), heartbeat=0.5)
    app = Starlette(routes=[Route("/api", _api, methods=["POST"]), Mount("/", events)])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, ws="websockets-sansio", log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            # The socket listens already: who comes early waits in its backlog.
            yield Studio(f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join(10)
