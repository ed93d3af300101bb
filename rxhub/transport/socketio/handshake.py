"""The first step of connecting: `GET /socket.io/1/`, and what to tell people when it fails.

The standard library does it, with its TLS and with the proxies of the environment (`https_proxy`, `no_proxy`),
in a daemon thread of its own: it blocks, name resolution above all, and must hold up neither the loop nor the
interpreter's exit. A redirection is not followed, since the key would follow it to wherever it leads.
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

_LONGEST_LINE = 4096
_MOST_SAID = 200


class ServerUnreachable(HubConnectionError):
    """The server could not be reached, or did not let us in.

    Attributes:
        retry_after: seconds for which the server asks to be left alone.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


async def shake_hands(endpoint: Endpoint, timeout: float) -> Handshake:
    """Ask the server for a session.

    Args:
        endpoint: the server.
        timeout: seconds.

    Raises:
        ServerUnreachable: if there is none to be had; says why, and what to do.
    """
    answer: Future[str] = Future()
    # Whoever has given up waiting does not stop the thread, which will still set it.
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
        raise ServerUnreachable(f"{endpoint.url} is no event server: {error}") from error
    except Exception as error:
        raise explained(error, endpoint, timeout) from error
    if "websocket" not in handshake.transports:
        raise ServerUnreachable(
            f"The event server at {endpoint.url} offers {', '.join(handshake.transports)}, but no websocket, which "
            "rxhub needs. If a proxy stands before it, let that pass WebSockets on."
        )
    return handshake


def explained(error: BaseException, endpoint: Endpoint, timeout: float) -> ServerUnreachable:
    """What to tell people of an error while connecting."""
    url = endpoint.url
    if isinstance(error, HTTPError):
        return _refused(error.code, error.headers, url, str(error.msg or ""))
    if isinstance(error, InvalidStatus):
        return _refused(error.response.status_code, error.response.headers, url)
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    match error:
        case TimeoutError():
            why = f"did not answer within {timeout:g} s. Does it run, and is the way there open?"
        case ssl.SSLCertVerificationError():
            why = (
                f"has a certificate that is not trusted: {error.verify_message}. If it is signed by an authority of "
                "your own, name its file in the environment variable SSL_CERT_FILE."
            )
        case ssl.SSLError():
            why = f"could not be spoken to over TLS: {error}. Is the scheme of the url right?"
        case socket.gaierror():
            why = f"could not be found: {error.strerror or error}. Is the name in the url right?"
        case ConnectionRefusedError():
            why = "refused the connection. Does the server run, and on this port?"
        case OSError() | HTTPException():
            why = f"could not be reached: {str(error) or type(error).__name__}."
        case _:
            why = f"could not be reached: {type(error).__name__}: {error}."
    return ServerUnreachable(f"The event server at {url} {why}")


def _refused(status: int, headers: Any, url: str, said: str = "") -> ServerUnreachable:
    if status in (401, 403):
        why = "Check api_user and api_key: the server did not accept them."
    elif 300 <= status < 400:
        why = f"It sends us to {headers.get('Location', 'elsewhere')}; give that address if you trust it with the key."
    elif status in (404, 405):
        why = "There is no Socket.IO 0.9 endpoint; is this the address of an event server?"
    elif status == 407:
        why = "A proxy on the way asks for credentials; put them into the url of https_proxy."
    elif status == 429:
        why = "It was asked too often; leave it alone for a while."
    else:
        why = "Try again later, or look into the server's log."
    wait = str(headers.get("Retry-After", ""))
    retry_after = min(float(wait), 300.0) if wait.isascii() and wait.isdigit() else 0.0
    told = f" ({said})" if said else ""
    return ServerUnreachable(f"The event server at {url} answered with HTTP status {status}{told}. {why}", retry_after)


class _Refusing(HTTPRedirectHandler):
    """Lets a redirection be the error that says where it leads."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        return None


def request_line(endpoint: Endpoint, timeout: float, trust: ssl.SSLContext | None = None) -> str:
    """Ask the server for a session here and now; blocks. What it raises, `explained` explains.

    Args:
        endpoint: the server.
        timeout: seconds.
        trust: whose certificates are accepted; None for the default.
    """
    request = Request(endpoint.handshake_url, headers=endpoint.handshake_headers)
    try:
        opened = build_opener(_Refusing(), HTTPSHandler(context=trust)).open(request, timeout=timeout)
    except HTTPError as error:
        with error:
            raise _status(endpoint, error.code, error.headers, _said(error)) from None
    with opened as response:
        if response.status != 200:
            raise _status(endpoint, response.status, response.headers)
        line: bytes = response.read(_LONGEST_LINE + 1)
    return line.decode("utf-8", "replace")


def _said(error: HTTPError) -> str:
    """What a server gives as the reason of an error, in a line; nothing if that is a page."""
    try:
        if error.headers.get_content_type() != "text/plain":
            return ""
        text = error.read(_MOST_SAID).decode("utf-8", "replace")
    except (OSError, HTTPException, AttributeError):
        return ""
    return inline(text.strip().removesuffix("."))


def _status(endpoint: Endpoint, status: int, headers: Message, said: str = "") -> HTTPError:
    error = HTTPError(endpoint.handshake_url, status, said, headers, None)
    # An HTTPError is a response as well. No one may be left to close this one, which Python 3.14 warns of.
    error.close()
    return error
