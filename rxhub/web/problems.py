"""Errors as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from rxhub.errors import EventError, Refused

__all__ = ["PROBLEM_JSON", "Problem", "exception_handlers", "problem_response"]

PROBLEM_JSON: Final = "application/problem+json"


class Problem(Exception):
    """The request failed. Endpoints raise it, and the client receives problem details.

    Args:
        status: HTTP status.
        detail: what was attempted, what happened, and what to do.
        headers: of the response.
        members: further members of the problem details.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members


def problem_response(problem: Problem) -> Response:
    """The response with a problem. The title is the phrase of the status, because the type is `about:blank`."""
    content = {
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        **problem.members,
    }
    return Response(msgspec.json.encode(content), problem.status, problem.headers, PROBLEM_JSON)


async def _respond(request: Request, error: Exception) -> Response:
    match error:
        case Problem():
            problem = error
        case EventError() | Refused():
            problem = Problem(400, str(error))
        case HTTPException(status_code=404):
            problem = Problem(404, "This path does not exist. /api/openapi.json lists the paths.")
        case HTTPException(status_code=405):
            detail = f"This path does not support {request.method[:20]}. /api/openapi.json lists the methods."
            problem = Problem(405, detail, error.headers)
        case HTTPException():
            problem = Problem(error.status_code, error.detail, error.headers)
        case _:
            problem = Problem(500, "The server failed to answer this request. Its log contains the reason.")
    return problem_response(problem)


def exception_handlers() -> dict[Any, Callable[[Request, Exception], Awaitable[Response]]]:
    """The handlers of an application whose errors are problem details."""
    return dict.fromkeys([Problem, EventError, Refused, HTTPException, Exception], _respond)
