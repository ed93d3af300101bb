"""Requests to a server's HTTP interface."""

from __future__ import annotations

from typing import Any

import httpx

from rxhub.server import Running

__all__ = ["api", "is_problem"]


def api(
    server: Running, method: str, path: str, body: Any = None, user: str = "", key: str = "", **options: Any
) -> Any:
    """The response to a request with the credentials of a user, by default of the administrator."""
    authorization = {"authorization": f"Bearer {user or server.api_user}:{key or server.api_key}"}
    headers = authorization | options.pop("headers", {})
    if body is not None:
        options["json"] = body
    return httpx.request(method, f"{server.url}/api{path}", headers=headers, trust_env=False, timeout=30, **options)


def is_problem(response: httpx.Response, status: int) -> bool:
    return (
        response.status_code == response.json()["status"] == status
        and response.headers["content-type"] == "application/problem+json"
        and bool(response.json()["title"])
    )
