"""A log filter that removes API keys from requests that do not reach the application.

If an application is mounted in another one, the outer application answers some requests itself: other paths, and
targets in absolute form (`GET http://host/socket.io/1/?… HTTP/1.1`). `rxhub.server.key_removal` does not process these
requests, but uvicorn logs them. The filter changes records that contain the name of an API key, or a handshake in
absolute form.
"""

from __future__ import annotations

import logging
import re
from typing import Any, cast
from urllib.parse import unquote

from rxhub.redaction.strings import REDACTED

__all__ = ["install_log_filter"]

_LOGGERS = ("uvicorn.access", "uvicorn.error", "uvicorn.asgi")
_KEY = re.compile(r"(?i)api[\W_]*key|authorization|\b(?:https?|wss?):/+\S*socket\.io")
# Except the colon after a scheme, which uvicorn quotes.
_END_OF_PATH = re.compile(r"(?i)[?;&#]|(?<!^http)(?<!^https)(?<!^ws)(?<!^wss)%")
# `%25255F` is `_` for a program that decodes three times.
_MAX_DECODINGS = 4


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
    # `key_removal` has already removed this key.
    text = str(argument).replace(f"api_key={REDACTED}", "")
    for _ in range(_MAX_DECODINGS):
        if _KEY.search(text):
            return True
        text = unquote(decoded := text)
        if text == decoded:
            return False
    return True  # only an attacker encodes a request this often


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[\w-]+", text) is not None
