"""Open a document at a URL as a stream: http and https only, with a timeout, and up to a limit of bytes."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any, BinaryIO, cast
from urllib.error import HTTPError
from urllib.parse import SplitResult, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from rxhub.exploration.compression import UnreadableInput

__all__ = ["MAX_URL_BYTES", "TIMEOUT_S", "open_url", "printable_url"]

TIMEOUT_S = 30.0
"""How long the server may take to accept the connection, and to send the next bytes."""

MAX_URL_BYTES = 4 * 1024**3
"""Of one response, as it is transferred. Larger files should be downloaded once."""

_BUFFER_BYTES = 256 * 1024


def printable_url(url: str) -> str:
    """A URL for messages: without user, password, query and fragment, which may contain secrets.

    Raises:
        ValueError: if events cannot be read from it.
    """
    parts = _split(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"Cannot read events from {parts.scheme[:20]!r} URLs. Use http or https, or a path.")
    if "@" in parts.netloc:
        raise ValueError(
            f"Cannot read events from {parts.hostname}, because the URL contains a user or a password. Download the "
            "file with a client that keeps them secret, and read the file."
        )
    if not parts.hostname:
        raise ValueError("Cannot read events from a URL without a host.")
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


@contextmanager
def open_url(url: str) -> Generator[tuple[BinaryIO, int | None]]:
    """Request a document; its bytes, and their number if the server tells it.

    Raises:
        OSError: if the server cannot be reached, is silent too long, or answers with an error.
    """
    name = printable_url(url)
    try:
        response: Any = _opener().open(Request(url, headers={"User-Agent": "rxhub"}), timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        raise OSError(f"Cannot read {name}: the server answered with {error.code} {error.reason}.") from None
    except (OSError, HTTPException) as error:
        raise OSError(f"Cannot read {name}: {getattr(error, 'reason', None) or error}.") from error
    with response:
        stream = io.BufferedReader(_Response(response, name), _BUFFER_BYTES)
        yield cast("BinaryIO", stream), response.length


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise ValueError(f"Cannot read events from this URL: {error}.") from None


def _opener() -> OpenerDirector:
    """An opener without `file:`, `ftp:` and `data:`, to which a server could redirect otherwise."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        UnknownHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPDefaultErrorHandler(),
        HTTPRedirectHandler(),
        HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class _Response(io.RawIOBase):
    """The body of a response. Reading it raises UnreadableInput beyond the limit, and OSError if it is cut off."""

    def __init__(self, response: Any, name: str) -> None:
        self._response = response
        self._name = name
        self._count = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._count

    def readinto(self, buffer: Any) -> int:
        expected = self._response.length
        try:
            count: int = self._response.readinto(buffer)
        except TimeoutError:
            raise OSError(f"Cannot read more of {self._name}: the server was silent for {TIMEOUT_S:g} s.") from None
        except (OSError, HTTPException) as error:
            raise OSError(f"Cannot read more of {self._name}: {error or type(error).__name__}.") from error
        if not count and expected:
            raise OSError(f"The connection to {self._name} ended {expected:,} bytes before the end of the document.")
        self._count += count
        if self._count > MAX_URL_BYTES:
            raise UnreadableInput(
                f"{self._name} is larger than {MAX_URL_BYTES / 1024**3:g} GiB. Download it, and read the file."
            )
        return count
