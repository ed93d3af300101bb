"""Reads the bodies of requests, within limits of size, time and memory."""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rxhub.server.receive_memory import UnreadBytes
from rxhub.server.uvicorn_protocols import ALLOW_BODY
from rxhub.web.problems import Problem
from rxhub.web.site import Site

__all__ = ["JSON", "decode_json", "json_response", "media_type", "read_body", "read_json", "read_text"]

JSON: Final = "application/json"

_BODY_TIMEOUT_S: Final = 30.0
_UNKNOWN_TIMEOUT_S: Final = 5.0
# Of a body that is too large, this many times the limit is read and dropped before the response. Many clients only read
# a response after they have sent the body.
_DROPPED_FACTOR: Final = 4

T = TypeVar("T")


async def read_body(site: Site, request: Request, user: str, most: int, is_known: bool = True) -> bytes:
    """The body of a request. Call it after authentication, because it lifts the limits for unknown clients.

    Args:
        site: the server.
        request: the request.
        user: whose memory the body uses.
        most: bytes.
        is_known: False if the body authenticates the request. The connection can then be closed to make room for
            others, and has less time.

    Raises:
        Problem: 413 if it is larger, 408 if it takes too long, 400 if the client disconnects before its end, 503 if the
            user's incomplete requests use too much memory.
    """
    seconds = _BODY_TIMEOUT_S if is_known else _UNKNOWN_TIMEOUT_S
    too_large = Problem(413, f"The body of this request may have {most} bytes at most. Send less, or several requests.")
    declared = request.headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > _DROPPED_FACTOR * most):
        raise too_large
    allow_body = request.scope.get("extensions", {}).get(ALLOW_BODY)
    if allow_body is not None:
        allow_body(_DROPPED_FACTOR * most, seconds, is_known)
    chunks: list[bytes] = []
    is_dropped = asyncio.Event()
    unread = UnreadBytes(is_dropped.set)
    unread.attach(site.server.unread, user)
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= most:
                    chunks.append(chunk)
                    unread.set(size)
                    if is_dropped.is_set():
                        raise Problem(503, "The incomplete requests of this user use too much memory. Send fewer.")
                elif size > _DROPPED_FACTOR * most:
                    raise too_large
                else:
                    chunks.clear()
                    unread.set(0)
    except TimeoutError:
        detail = f"The body of this request was not complete within {seconds:g} s."
        raise Problem(408, detail, {"connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "The connection ended before the body of the request was complete.") from None
    finally:
        unread.close()
    if size > most:
        raise too_large
    return b"".join(chunks)


async def read_text(site: Site, request: Request, user: str, most: int) -> str:
    """The body of a request as a string.

    Raises:
        Problem: 400 if it is not UTF-8, and as `read_body`.
    """
    return _text(await read_body(site, request, user, most))


async def read_json(site: Site, request: Request, user: str, most: int, kind: type[T]) -> T:
    """The body of a request as JSON of a type.

    Raises:
        Problem: 415 if its media type is not JSON, 400 if it is not valid JSON, 422 if it has another form, and as
            `read_body`.
    """
    if media_type(request) != JSON:
        raise Problem(415, f"Send JSON with `Content-Type: {JSON}`.")
    return decode_json(await read_body(site, request, user, most), kind)


def decode_json(body: bytes, kind: type[T]) -> T:
    """JSON of a type.

    Raises:
        Problem: 400 if it is not valid JSON in UTF-8, 422 if it has another form.
    """
    text = _text(body)
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise Problem(422, f"The body does not have the form of this request: {error}.") from None
    except msgspec.DecodeError as error:
        raise Problem(400, f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise Problem(400, "The body is nested too deeply.") from None


def _text(body: bytes) -> str:
    try:
        # msgspec accepts invalid UTF-8 in bytes.
        return body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"The body is not valid UTF-8: {error}.") from None


def media_type(request: Request) -> str:
    """The media type of the body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def json_response(content: Any, status: int = 200) -> Response:
    """A response that no cache stores."""
    return Response(msgspec.json.encode(content), status, {"cache-control": "no-store"}, JSON)
