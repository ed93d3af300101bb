"""A way to a server for threads, as ftrack's hub uses it: a handshake that waits, a WebSocket that waits.

rxhub's own client lives on an event loop. Subclasses of ftrack's hub, though, override what is called for each packet,
and their code must run neither on a loop nor behind one; so here a thread reads, and whoever publishes writes.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from email.message import Message
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

from rxhub.transport.socketio.protocol import MAX_PACKET, PATH, Handshake

__all__ = ["Line", "Silence", "UnexpectedStatus", "shake_hands"]

PATIENCE = 60.0
"""Seconds that a server has to answer the handshake, and to open the WebSocket."""

_FAREWELL = 2.0
_LONGEST_HANDSHAKE = 4096


class Silence(OSError):
    """Nothing has come from the server for longer than it lets us wait."""


class UnexpectedStatus(OSError):
    """The server answered the handshake with another status than 200; that is the `errno`."""


class Line:
    """One open WebSocket.

    Args:
        url: of the session, `http(s)://…/socket.io/1/websocket/<sid>`.
        headers: further headers.
        cookies: likewise.
        silence: seconds after which a server that says nothing is taken for dead; None waits for ever.

    Raises:
        OSError: if the server cannot be reached.
        websockets.exceptions.WebSocketException: if it does not let us in.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], cookies: Mapping[str, str], silence: float | None
    ) -> None:
        from websockets.sync.client import connect

        secure = url.startswith("https:")
        self._silence = silence
        # An error would name the URL; heartbeats are Socket.IO's, so that pings are not needed.
        self._socket: Any = connect(
            f"ws{url.removeprefix('http')}",
            additional_headers=_with_cookies(headers, cookies),
            ssl=_tls() if secure else None,
            compression=None,
            ping_interval=None,
            open_timeout=PATIENCE,
            close_timeout=_FAREWELL,
            # A character is four bytes of UTF-8 at most; the protocol counts characters.
            max_size=4 * MAX_PACKET,
        )

    @property
    def connected(self) -> bool:
        """Whether both ends are there, as far as is known."""
        return self._socket.protocol.state.name == "OPEN"

    @property
    def sock(self) -> socket.socket:
        """The socket below, for who looks for it."""
        return self._socket.socket

    def send(self, packet: str) -> None:
        """Send one packet.

        Raises:
            OSError: if the connection is broken or closed.
            TypeError: if the packet is no text.
            UnicodeEncodeError: if UTF-8 cannot carry it.
        """
        from websockets.exceptions import ConnectionClosed

        if not isinstance(packet, str):
            raise TypeError(f"A packet is text, but {type(packet).__name__} was given.")
        try:
            self._socket.send(packet)
        except ConnectionClosed as error:
            raise ConnectionError(str(error)) from error

    def recv(self) -> str | bytes:
        """Wait for one packet.

        Raises:
            OSError: if the connection is broken or closed, or the server is silent for too long.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            return self._socket.recv(timeout=self._silence)
        except TimeoutError:
            # No use in a farewell to who does not listen.
            self.abandon()
            raise Silence(f"Nothing came from the server for {self._silence:g} s.") from None
        except ConnectionClosed as error:
            raise ConnectionError(str(error)) from error

    def close(self) -> None:
        """Say goodbye and close; harmless if it is closed."""
        with suppress(OSError):
            self._socket.close()

    def abandon(self) -> None:
        """Cut the connection: whoever sends or waits is woken up by an error."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def let_go(self) -> None:
        """Forget the socket without a word; for a child process, whose parent goes on with it."""
        with suppress(OSError):
            os.close(self.sock.detach())


def shake_hands(server: str, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Handshake:
    """Ask a server for a session.

    Args:
        server: its URL, without a path.
        headers: with who asks.
        cookies: further cookies.

    Raises:
        UnexpectedStatus: if it refuses, or redirects: a key is not sent to where it was not meant for.
        ProtocolError: if it is no event server.
        TimeoutError: if it did not answer in time.
        ssl.SSLError: if no trusted connection came about.
        OSError: if it cannot be reached.
    """
    request = urllib.request.Request(f"{server}{PATH}", headers=_with_cookies(headers, cookies))  # noqa: S310
    if urlsplit(server).scheme not in ("http", "https"):
        raise OSError(f"An event server is at http:// or https://, not at {server}")
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=_tls()))
    try:
        with opener.open(request, timeout=PATIENCE) as response:
            if response.status != http.client.OK:
                raise UnexpectedStatus(response.status, response.reason)
            return Handshake.parse(response.read(_LONGEST_HANDSHAKE + 1).decode("utf-8", "replace").strip())
    except urllib.error.HTTPError as error:
        with error:
            raise UnexpectedStatus(error.code, error.reason) from None
    except urllib.error.URLError as error:
        raise (error.reason if isinstance(error.reason, OSError) else OSError(error.reason)) from None
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP was answered ({error!r})") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Message, newurl: str) -> None:
        return None


def _with_cookies(headers: Mapping[str, str], cookies: Mapping[str, str]) -> dict[str, str]:
    written = {str(name): str(value) for name, value in headers.items() if value is not None}
    if cookies:
        written["Cookie"] = "; ".join(f"{name}={quote(str(value), safe=_COOKIE)}" for name, value in cookies.items())
    return written


_COOKIE = "!#$%&'()*+-./:<=>?@[]^_`{|}~"


@cache
def _tls() -> ssl.SSLContext:
    # ftrack's client goes through requests, and studios with a certificate of their own have told requests of it.
    return ssl.create_default_context(cafile=os.environ.get("REQUESTS_CA_BUNDLE") or None)
