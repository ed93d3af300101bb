"""Reads the bodies of requests, within limits of size and time."""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rxhub.server.uvicorn_protocols import ALLOW_BODY
from rxhub.web.problems import Problem

__all__ = ["JSON", "decode_json", "json_response", "media_type", "read_body", "read_json"]

JSON: Final = "application/json"

_BODY_TIMEOUT_S: Final = 30.0

T = TypeVar("T")


async def read_body(request: Request, most: int) -> bytes:
    """The body of a request.

    Args:
        request: the request.
        most: bytes.

    Raises:
        Problem: 413 if it is larger, 408 if it takes too long, 400 if the client disconnects before its end.
    """
    too_large = Problem(413, f"The body of this request may have {most} bytes at most.", {"connection": "close"})
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > most):
        raise too_large
    allow_body = request.scope.get("extensions", {}).get(ALLOW_BODY)
    if allow_body is not None:
        # One more byte, so that the response arrives before the connection is closed.
        allow_body(most + 1, _BODY_TIMEOUT_S)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError:
        detail = f"The body of this request was not complete within {_BODY_TIMEOUT_S:g} s."
        raise Problem(408, detail, {"connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "The connection ended before the body of the request was complete.") from None
    return b"".join(chunks)


async def read_json(request: Request, most: int, kind: type[T]) -> T:
    """The body of a request as JSON of a type.

    Raises:
        Problem: 415 if its media type is not JSON, 400 if it is not valid JSON, 422 if it has another form, and as
            `read_body`.
    """
    if media_type(request) != JSON:
        raise Problem(415, f"Send JSON with `Content-Type: {JSON}`.")
    return decode_json(await read_body(request, most), kind)


def decode_json(body: bytes, kind: type[T]) -> T:
    """JSON of a type.

    Raises:
        Problem: 400 if it is not valid JSON in UTF-8, 422 if it has another form.
    """
    try:
        # As a string: in bytes, msgspec would accept invalid UTF-8.
        return msgspec.json.decode(body.decode(), type=kind)
    except msgspec.ValidationError as error:
        raise Problem(422, f"The body does not have the form of this request: {error}.") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise Problem(400, f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise Problem(400, "The body is nested too deeply.") from None


def media_type(request: Request) -> str:
    """The media type of the body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def json_response(content: Any, status: int = 200) -> Response:
    """A response that no cache stores."""
    return Response(msgspec.json.encode(content), status, {"cache-control": "no-store"}, JSON)
