"""The first step of connecting, `GET /socket.io/1/`, and the messages of errors while connecting.

The standard library sends the request, with its TLS and the proxies of the environment (`https_proxy`, `no_proxy`). It
blocks, in name resolution above all, so it runs in a daemon thread, which blocks neither the loop nor the interpreter's
exit. Redirects are not followed, since they would pass the key on.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from concurrent.futures import Future
from email.message import Message
from http.client import HTTPException, HTTPMessage
from threading import Thread
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from websockets.exceptions import InvalidStatus

from rxhub.errors import HubConnectionError, ProtocolError
from rxhub.text.printable import inline
from rxhub.transport.socketio.endpoint import Endpoint
from rxhub.transport.socketio.protocol import Handshake

__all__ = ["ServerUnreachable", "explained", "request_line", "shake_hands"]

_MAX_LINE = 4096
_MAX_TEXT = 200


class ServerUnreachable(HubConnectionError):
    """The server cannot be reached, or refused the connection."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds to wait before the next attempt, as the server requests


async def shake_hands(endpoint: Endpoint, timeout: float) -> Handshake:
    """Request a session. Raises ServerUnreachable if that fails; with the reason and the remedy."""
    answer: Future[str] = Future()
    # After a timeout, the thread still sets it.
    answer.set_running_or_notify_cancel()

    def ask() -> None:
        try:
            answer.set_result(request_line(endpoint, timeout))
        except BaseException as error:
            answer.set_exception(error)

    try:
        Thread(target=ask, name="rxhub-handshake", daemon=True).start()
        async with asyncio.timeout(timeout):
            line = await asyncio.wrap_future(answer)
        handshake = Handshake.parse(line)
    except ProtocolError as error:
        raise ServerUnreachable(f"{endpoint.url} is not an event server: {error}") from error
    except Exception as error:
        raise explained(error, endpoint, timeout) from error
    if "websocket" not in handshake.transports:
        raise ServerUnreachable(
            f"The event server at {endpoint.url} offers {', '.join(handshake.transports)}, but not websocket, which "
            "rxhub needs. If there is a proxy before it, allow WebSockets there."
        )
    return handshake


def explained(error: BaseException, endpoint: Endpoint, timeout: float) -> ServerUnreachable:
    """The reason and the remedy of an error while connecting."""
    url = endpoint.url
    if isinstance(error, HTTPError):
        return _refused(error.code, error.headers, url, str(error.msg or ""))
    if isinstance(error, InvalidStatus):
        return _refused(error.response.status_code, error.response.headers, url)
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    match error:
        case TimeoutError():
            why = f"did not answer within {timeout:g} s. Check that it is running and not blocked by a firewall."
        case ssl.SSLCertVerificationError():
            why = (
                f"has a certificate that is not trusted: {error.verify_message}. If your own authority signed it, set "
                "the environment variable SSL_CERT_FILE to its file."
            )
        case ssl.SSLError():
            why = f"failed to negotiate TLS: {error}. Check the scheme of the url."
        case socket.gaierror():
            why = f"could not be found: {error.strerror or error}. Check the name in the url."
        case ConnectionRefusedError():
            why = "refused the connection. Check that the server is running, and the port."
        case OSError() | HTTPException():
            why = f"could not be reached: {str(error) or type(error).__name__}."
        case _:
            why = f"could not be reached: {type(error).__name__}: {error}."
    return ServerUnreachable(f"The event server at {url} {why}")


def _refused(status: int, headers: Any, url: str, said: str = "") -> ServerUnreachable:
    if status in (401, 403):
        why = "Check api_user and api_key: the server did not accept them."
    elif 300 <= status < 400:
        why = f"It redirects to {headers.get('Location', 'elsewhere')}. Use that url if you trust it with the key."
    elif status in (404, 405):
        why = "It has no Socket.IO 0.9 endpoint. Check that this is the url of an event server."
    elif status == 407:
        why = "A proxy requires credentials. Put them into the url of https_proxy."
    elif status == 429:
        why = "Too many requests. Wait before you try again."
    else:
        why = "Try again later, or read the server's log."
    wait = str(headers.get("Retry-After", ""))
    retry_after = min(float(wait), 300.0) if wait.isascii() and wait.isdigit() else 0.0
    told = f" ({said})" if said else ""
    return ServerUnreachable(f"The event server at {url} answered with HTTP status {status}{told}. {why}", retry_after)


class _Refusing(HTTPRedirectHandler):
    """Makes a redirect an error, which has its target."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        return None


def request_line(endpoint: Endpoint, timeout: float, trust: ssl.SSLContext | None = None) -> str:
    """Request a session; blocks. `explained` describes its errors."""
    request = Request(endpoint.handshake_url, headers=endpoint.handshake_headers)
    try:
        opened = build_opener(_Refusing(), HTTPSHandler(context=trust)).open(request, timeout=timeout)
    except HTTPError as error:
        with error:
            raise _status(endpoint, error.code, error.headers, _reason(error)) from None
    with opened as response:
        if response.status != 200:
            raise _status(endpoint, response.status, response.headers)
        line: bytes = response.read(_MAX_LINE + 1)
    return line.decode("utf-8", "replace")


def _reason(error: HTTPError) -> str:
    """The reason that a server gives for an error, in a line; empty if it is a page."""
    try:
        if error.headers.get_content_type() != "text/plain":
            return ""
        text = error.read(_MAX_TEXT).decode("utf-8", "replace")
    except (OSError, HTTPException, AttributeError):
        return ""
    return inline(text.strip().removesuffix("."))


def _status(endpoint: Endpoint, status: int, headers: Message, said: str = "") -> HTTPError:
    error = HTTPError(endpoint.handshake_url, status, said, headers, None)
    # An HTTPError is a response, too. Python 3.14 warns if it is not closed.
    error.close()
    return error
