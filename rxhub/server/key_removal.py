"""Removes API keys from requests before they can be logged.

An access log reads the ASGI scope when the response starts. So this middleware stores the original for the
endpoints, and then changes the scope in place, for every request that reaches the application, also if no route
matches. Names in a query can be written in many ways (`API_KEY`, `api%5Fkey`, `api%255Fkey`, with `;` between
parameters). So it does not search for secrets, but keeps only parameters that are known to be harmless.

If an application is mounted in another one, the outer application answers some requests itself: other paths, and
targets in absolute form (`GET http://host/socket.io/1/?… HTTP/1.1`). uvicorn logs these requests too. A log filter
changes its records that contain the name of an API key, or a handshake in absolute form.
"""

from __future__ import annotations

import logging
import re
from typing import Any, cast
from urllib.parse import quote, unquote, unquote_to_bytes

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from rxhub.redaction import secrets
from rxhub.redaction.strings import REDACTED

__all__ = [
    "KeyRemoval",
    "headers_of",
    "install_log_filter",
    "original",
    "query_of",
    "session_id",
]

_ORIGINAL = "rxhub.original"

_HARMLESS = {b"api_user", b"eio", b"t", b"transport"}
_PLAIN = re.compile(rb"[\w.@+-]{0,100}")
# Characters that may start a query in a path, and common names of keys.
_SUSPICIOUS = re.compile(r"(?i)[?;&=%\x00-\x1f]|api[\W_]*key|password|secret|token")
_URL_HEADER = re.compile(rb"(?i)refer|ur[il]|path|location")
# Names in these paths, such as the webhook `token-refresh`, are not keys.
_NAMED = re.compile(r"/(?:hooks|api/(?:streams|groups|dead-letters|subscribers))(?:/[\w.~@:+-]+)+")
_SESSION = re.compile(r"/socket\.io/1/websocket/[^/]+")
_AFTER_SOCKET_IO = re.compile(r"(/socket\.io/1/(?:websocket/)?)(.+)", re.DOTALL)
_MASK = REDACTED.encode()

_LOGGERS = ("uvicorn.access", "uvicorn.error", "uvicorn.asgi")
_KEY_OR_HANDSHAKE = re.compile(r"(?i)api[\W_]*key|authorization|\b(?:https?|wss?):/+\S*socket\.io")
# Except the colon after a scheme, which uvicorn quotes.
_END_OF_PATH = re.compile(r"(?i)[?;&#]|(?<!^http)(?<!^https)(?<!^ws)(?<!^wss)%")
# `%25255F` is `_` for a program that decodes three times.
_MAX_DECODINGS = 4


class KeyRemoval:
    """ASGI middleware that stores the headers and the query for the endpoints, and removes keys from the scope."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            scope[_ORIGINAL] = _Original(scope)
            if query := scope.get("query_string"):
                scope["query_string"] = _reduced(query)
            scope["headers"] = [(name, _header(name, value)) for name, value in scope["headers"]]
            _hide_in_path(scope)
        await self._app(scope, receive, send)


class _Original:
    """The headers and the query of a request. An object, so that tools that log local variables do not show them."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope) -> None:
        self.scope = {"headers": scope["headers"], "query_string": scope.get("query_string", b"")}


def headers_of(scope: Scope) -> Headers:
    """The headers of a request, including those with keys and cookies."""
    return Headers(scope=original(scope))


def query_of(scope: Scope) -> bytes:
    """The query of a request, including keys."""
    return original(scope)["query_string"]


def original(scope: Scope) -> Scope:
    """The headers and the query of a request, including keys, for `rxhub.server.request_auth`."""
    original: _Original = scope[_ORIGINAL]
    return original.scope


def session_id(scope: Scope) -> str:
    """The session id in the path of a WebSocket. Removes it from the scope, because it grants access."""
    sid: str = scope["path_params"]["sid"]
    scope["path_params"] = {}
    _set_path(scope, scope["path"].removesuffix(sid) + REDACTED)
    return sid


def _reduced(query: bytes) -> bytes:
    """A query with the values of harmless parameters only."""
    return b"&".join(_parameter(part) for part in re.split(rb"[&;]", query) if part)


def _parameter(part: bytes) -> bytes:
    name, equals, value = part.partition(b"=")
    name = name.lower()
    if equals and name in _HARMLESS and _PLAIN.fullmatch(value):
        return part
    is_key = equals and unquote_to_bytes(name).lower() == b"api_key"
    return b"api_key=" + _MASK if is_key else _MASK


def _header(name: bytes, value: bytes) -> bytes:
    """The value of a header without keys, also in URLs that it repeats (Referer, X-Original-URI)."""
    if secrets.names(name):
        return _MASK
    if _URL_HEADER.search(name) and (found := _SUSPICIOUS.search(value.decode("latin-1"))) is not None:
        return value[: found.start()] + _MASK
    return value


def _hide_in_path(scope: Scope) -> None:
    root: str = scope.get("root_path", "")
    path: str = scope["path"]
    below = path.removeprefix(root)
    if scope["type"] == "websocket" and _SESSION.fullmatch(below):
        return  # the endpoint needs it first: `session_id`
    if _NAMED.fullmatch(below):
        return
    if (after := _AFTER_SOCKET_IO.fullmatch(below)) is not None:
        _set_path(scope, path.removesuffix(after[2]) + REDACTED)
    elif (found := _SUSPICIOUS.search(below)) is not None:
        _set_path(scope, path[: len(path) - len(below) + found.start()] + REDACTED)


def _set_path(scope: Scope, path: str) -> None:
    scope["path"] = path
    if scope.get("raw_path") is not None:
        scope["raw_path"] = quote(path).encode("ascii")


def install_log_filter() -> None:
    """Remove API keys from the log records of uvicorn in this process. A second call changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_remove_keys)


def _remove_keys(record: logging.LogRecord) -> bool:
    arguments = cast("Any", record.args)
    if isinstance(arguments, tuple):
        arguments = cast("tuple[object, ...]", arguments)
        if any(map(_has_key, arguments)):
            changed: list[object] = []
            is_value = False
            for argument in arguments:
                changed.append(REDACTED if is_value else _without_key(argument))
                # The name of a header. Its value follows.
                is_value = is_value or (isinstance(argument, str) and _has_key(argument) and _is_name(argument))
            record.args = tuple(changed)
    elif arguments and _has_key(arguments):
        record.args = {key: _without_key(value) for key, value in arguments.items()}
    return True


def _without_key(argument: object) -> object:
    if not _has_key(argument) or (isinstance(argument, str) and _is_name(argument)):
        return argument
    if isinstance(argument, str) and (end := _END_OF_PATH.search(argument)) is not None:
        return argument[: end.end()] + REDACTED
    return REDACTED


def _has_key(argument: object) -> bool:
    if isinstance(argument, (int, float)):
        return False
    # `KeyRemoval` has already removed this key.
    text = str(argument).replace(f"api_key={REDACTED}", "")
    for _ in range(_MAX_DECODINGS):
        if _KEY_OR_HANDSHAKE.search(text):
            return True
        text = unquote(decoded := text)
        if text == decoded:
            return False
    return True  # only an attacker encodes a request this often


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[\w-]+", text) is not None
