"""A small Vidispine: enough of its REST API to create, change, fetch and delete, with authentication.

What it answers follows Vidispine's public reference. `requests` has everything that came, and `answers` holds what is
to be answered next instead, for a backend that misbehaves.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections import deque
from typing import Any, NamedTuple
from urllib.parse import parse_qs
from xml.etree import ElementTree as ET

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

NS = "{http://xml.vidispine.com/schema/vidispine}"
USERNAME = "admin"
PASSWORD = 's3cret&<of>the"account'


class Asked(NamedTuple):
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


class Backend:
    def __init__(self) -> None:
        self.requests: list[Asked] = []
        self.answers: deque[Response] = deque()
        self.users: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, list[str]] = {}
        self.items: dict[str, dict[str, list[str]]] = {"VX-1": {"title": ["One"]}}
        self.collections: dict[str, dict[str, Any]] = {}
        self.notifications: list[tuple[str, ET.Element]] = []
        self.app = Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "POST", "PUT", "DELETE"])])

    @property
    def asked(self) -> list[str]:
        return [f"{each.method} {each.path}" for each in self.requests]

    async def answer(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode()
        query = parse_qs(request.scope["query_string"].decode(), keep_blank_values=True)
        asked = Asked(request.method, path, query, dict(request.headers), await request.body())
        self.requests.append(asked)
        credentials = request.headers.get("authorization", "").removeprefix("Basic ")
        if b64decode(credentials).decode() != f"{USERNAME}:{PASSWORD}":
            return Response("Unauthorized", 401)
        if self.answers:
            return self.answers.popleft()
        parts = request.url.path.removeprefix("/API/").split("/")
        for place in (self.people, self.items_and_imports, self.collections_and_notifications):
            if (found := place(asked, request.method, *parts)) is not None:
                return found
        return JSONResponse({"notFound": {"type": parts[0], "id": "/".join(parts[1:])}}, 404)

    def people(self, asked: Asked, *parts: str) -> Response | None:
        match parts:
            case "POST", "user":
                return self.create_user(asked)
            case "GET", "user", name if name in self.users:
                return JSONResponse({key: value for key, value in self.users[name].items() if key != "password"})
            case "PUT", "group", name:
                self.groups.setdefault(name, [])
                return Response()
            case "GET", "group", name if name in self.groups:
                return JSONResponse({"groupName": name})
            case "PUT", "group", name, "user", user if name in self.groups and user in self.users:
                self.groups[name].append(user)
                return Response()
        return None

    def items_and_imports(self, asked: Asked, *parts: str) -> Response | None:
        match parts:
            case "GET", "item", name if name in self.items:
                return JSONResponse({"id": name, "metadata": self.items[name]})
            case "GET", "item", name, "metadata" if name in self.items:
                return JSONResponse({"item": [{"id": name, "metadata": self.items[name]}]})
            case "PUT", "item", name, "metadata" if name in self.items:
                for field in ET.fromstring(asked.body).iter(f"{NS}field"):
                    values = [value.text or "" for value in field.findall(f"{NS}value")]
                    self.items[name][field.findtext(f"{NS}name") or ""] = values
                return JSONResponse({"item": [{"id": name, "metadata": self.items[name]}]})
            case "DELETE", "item", name if name in self.items:
                del self.items[name]
                return Response()
            case "POST", "import", "placeholder", name, "container" if name in self.items:
                return JSONResponse({"jobId": "VX-20", "status": "READY", "type": "PLACEHOLDER_IMPORT"})
        return None

    def collections_and_notifications(self, asked: Asked, *parts: str) -> Response | None:
        match parts:
            case "POST", "collection":
                return self.create_collection(asked)
            case "GET", "collection", name if name in self.collections:
                return JSONResponse(self.collections[name])
            case "PUT", "collection", name, child if name in self.collections and child in self.collections:
                self.collections[name]["content"].append({"id": child, "type": asked.query["type"][0]})
                return Response()
            case "POST", *resource, "notification":
                self.notifications.append(("/".join(resource), ET.fromstring(asked.body)))
                return JSONResponse({"uri": [f"http://localhost:8080/API/notification/VX-{len(self.notifications)}"]})
        return None

    def create_user(self, asked: Asked) -> Response:
        document = ET.fromstring(asked.body)
        user = {key: document.findtext(NS + key) for key in ("userName", "realName", "password")}
        name = user["userName"] or ""
        if asked.query != {"passwordType": ["raw"]}:
            return Response("expected a raw password", 400)
        if name in self.users:
            return Response(f"The user {name} exists; refused: {asked.body.decode()}", 409)
        self.users[name] = user
        return JSONResponse({"userName": name, "realName": user["realName"]})

    def create_collection(self, asked: Asked) -> Response:
        collection = {"id": f"VX-{100 + len(self.collections)}", "name": asked.query["name"][0], "content": []}
        self.collections[collection["id"]] = collection
        return JSONResponse(collection)


def drip() -> Response:
    """An answer that never ends, a byte now and then."""

    async def bytes_for_ever() -> Any:
        for _ in range(10_000):
            yield b" "
            await asyncio.sleep(0.02)

    return StreamingResponse(bytes_for_ever())


def flood() -> Response:
    """An answer without end, as fast as it can."""

    async def chunks_for_ever() -> Any:
        while True:
            yield b" " * 1024 * 1024
            await asyncio.sleep(0)

    return StreamingResponse(chunks_for_ever())
