"""The Socket.IO part of ftrack's hub: packets, under the names that subclasses override and call.

The methods are called as in ftrack's client, in the same order and with the same arguments. A thread passes each
received packet through `_receive_packet` and `_handle_packet`; `_send_packet` runs in the thread of its caller.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from ssl import SSLError
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.error import HTTPError

from rxhub.compat.ftrack import exception
from rxhub.compat.ftrack.base import Event
from rxhub.compat.ftrack.shortened import Shortened
from rxhub.compat.ftrack.trust import HANDSHAKE_VARIABLES, trust
from rxhub.compat.ftrack.websocket import CONNECT_TIMEOUT_S, ThreadedWebSocket
from rxhub.concurrency.wakeup import Flag
from rxhub.errors import ProtocolError, RxHubError
from rxhub.text.safe_repr import safe_repr
from rxhub.transport.json_payload import check_depth
from rxhub.transport.registry import TransportConfig
from rxhub.transport.socketio.deduplication import RecentIds
from rxhub.transport.socketio.endpoint import Endpoint
from rxhub.transport.socketio.handshake import explained, request_line
from rxhub.transport.socketio.packet import MAX_PACKET
from rxhub.transport.socketio.protocol import Handshake

__all__ = ["Packets", "ProcessorThread", "ServerDetails", "SocketIoSession"]


class SocketIoSession(NamedTuple):
    """The server's response to the handshake, as strings."""

    id: str
    heartbeatTimeout: str  # noqa: N815  # ftrack's names
    supportedTransports: list[str]  # noqa: N815


class ServerDetails(NamedTuple):
    """The address of a server."""

    scheme: str
    hostname: str
    port: int | None


MAX_DATA = MAX_PACKET - 100  # characters
_MAX_CALLBACKS = 20_000
_NAMES = ("disconnect", "connect", "heartbeat", "message", "json", "event", "acknowledge", "error")
_REPLY, _WIRE_REPLY = "in_reply_to_event", "inReplyToEvent"


class Packets:
    """The methods of ftrack's hub that send and receive packets. The subclasses set these attributes."""

    logger: logging.Logger
    server: ServerDetails
    _connection: ThreadedWebSocket | None
    _api_user: str | None
    _api_key: str | None
    _headers: dict[str, str]
    _cookies: dict[str, str]
    _event_queue: Any
    _intentional_disconnect: bool
    _auto_reconnect_attempts: int
    _auto_reconnect_delay: float
    _lock: Any

    def __init__(self) -> None:
        self._unique_packet_id = 0
        self._recent = RecentIds()
        self._packet_callbacks: dict[int, Callable[[Mapping[str, Any]], object]] = {}
        self._code_name_mapping = {str(code): name for code, name in enumerate(_NAMES)}
        self._code_name_mapping |= {name: code for code, name in self._code_name_mapping.items()}

    if TYPE_CHECKING:  # defined by subclasses

        @property
        def connected(self) -> bool: ...
        @property
        def id(self) -> str: ...
        @property
        def _subscribers(self) -> list[Any]: ...
        def get_server_url(self) -> str: ...
        def reconnect(self, attempts: int = 10, delay: float = 5) -> None: ...
        def _prepare_event(self, event: Any) -> None: ...
        def _handle(self, event: Any, synchronous: bool = False) -> list[Any] | None: ...
        def _handle_reply(self, event: Any) -> Any: ...

    def _get_socket_io_session(self) -> SocketIoSession:
        """Request a session from the server, or raise EventHubConnectionError."""
        endpoint = self._endpoint()
        try:
            context = trust(HANDSHAKE_VARIABLES) if endpoint.secure else None
            answer = Handshake.parse(request_line(endpoint, CONNECT_TIMEOUT_S, context))
        except Exception as error:
            cause = getattr(error, "reason", error)
            why = error if isinstance(error, ProtocolError) else explained(error, endpoint, CONNECT_TIMEOUT_S)
            what = f"Failed to connect to server: {why}"
            if isinstance(error, HTTPError):
                what = f"Received unexpected status code {error.code}. {why}"
            elif isinstance(cause, TimeoutError):
                what = f"Timed out connecting to server: {why}"
            elif isinstance(cause, SSLError):
                what = f"Failed to negotiate SSL with server: {why}"
            raise exception.EventHubConnectionError("{what}", details={"what": what}) from error
        return SocketIoSession(answer.sid, str(answer.heartbeat or ""), list(answer.transports))

    def _endpoint(self) -> Endpoint:
        url, user, key = self.get_server_url(), self._api_user, self._api_key
        return Endpoint(TransportConfig(url=url, user=user, key=key, headers=self._headers, cookies=self._cookies))

    def _add_packet_callback(self, callback: Callable[[Mapping[str, Any]], object]) -> str:
        """Store the callback for the acknowledgement of a packet; return the packet's id in wire form."""
        with self._lock:
            self._unique_packet_id += 1
            identifier = self._unique_packet_id
            self._packet_callbacks[identifier] = callback
            # Not every server acknowledges. Removed by number, since other threads remove callbacks too.
            self._packet_callbacks.pop(identifier - _MAX_CALLBACKS, None)
        return f"{identifier}+"

    def _pop_packet_callback(self, packet_identifier: int) -> Callable[[Mapping[str, Any]], object]:
        return self._packet_callbacks.pop(packet_identifier)

    def _emit_event_packet(self, namespace: str, event: Any, callback: Callable[..., object] | None) -> None:
        data = self._encode({"name": namespace, "args": [event]})
        self._check_size(data, event["topic"])
        self._send_packet(self._code_name_mapping["event"], data=data, callback=callback)

    def _acknowledge_packet(self, packet_identifier: str, *args: Any) -> None:
        data = packet_identifier.rstrip("+")
        if args:
            data += f"+{self._encode(args)}"
        self._send_packet(self._code_name_mapping["acknowledge"], data=data)

    def _send_packet(self, code: Any, data: str = "", callback: Callable[..., object] | None = None) -> None:
        """Send a packet; raise EventHubConnectionError if the hub is not connected."""
        connection = self._connection
        if connection is None:
            raise exception.EventHubConnectionError("Failed to send packet: not connected.")
        identifier = self._add_packet_callback(callback) if callback else ""
        packet = f"{code}:{identifier}::{data}"
        try:
            self._check_size(data)
            connection.send(packet)
        except Exception as error:
            if identifier:
                self._packet_callbacks.pop(int(identifier[:-1]), None)
            if isinstance(error, OSError):
                raise exception.EventHubConnectionError(f"Failed to send packet: {error}") from error
            raise
        self.logger.debug("Sent packet: %s", Shortened(packet))

    def _check_size(self, data: str, topic: object = None) -> None:
        if len(data) > MAX_DATA:  # a server would close the connection
            what = "The packet" if topic is None else f"The event {safe_repr(topic)}"
            raise exception.EventSizeError(
                f"{what} has {len(data)} characters; at most {MAX_DATA} can be sent. Store the data where "
                "receivers can fetch it, and send its address."
            )

    def _receive_packet(self) -> tuple[str, str | None, str | None, str | None]:
        """Wait for a packet; return its code, id, path and data."""
        connection = self._connection
        try:
            if connection is None:
                raise OSError("not connected")
            packet = connection.recv()
        except Exception as error:
            raise exception.EventHubConnectionError(f"Error receiving packet: {error}") from error
        parts: list[str] = packet.split(":", 3) if isinstance(packet, str) else []
        if len(parts) not in (1, 3, 4):
            raise exception.EventHubPacketError(f"Received invalid packet {safe_repr(packet, 200)}")
        self.logger.debug("Received packet: %s", Shortened(packet))
        code, packet_identifier, path, data = (*parts, None, None, None)[:4]
        return cast("str", code), packet_identifier, path, data

    def _handle_packet(self, code: str, packet_identifier: str | None, path: str | None, data: str | None) -> None:
        code_name = self._code_name_mapping.get(code)
        if code_name == "connect":
            self.logger.debug("Connected to event server.")
            self._put_meta_event("ftrack.meta.connected")
        elif code_name == "disconnect":
            self._disconnected()
        elif code_name == "heartbeat":
            self._send_packet(self._code_name_mapping["heartbeat"])
        elif code_name == "message":
            self.logger.debug("Message received: %s", Shortened(data))
        elif code_name == "event":
            self._on_event(data or "")
        elif code_name == "acknowledge":
            self._on_acknowledgement(data or "")
        elif code_name == "error":
            self.logger.error("Event server reported error: %s.", Shortened(data))
        else:
            self.logger.debug("%s: %s", Shortened(code_name or code), Shortened(data))

    def _disconnected(self) -> None:
        self.logger.debug("Disconnected from event server.")
        if not self._intentional_disconnect:
            self.logger.debug("Disconnected unexpectedly. Attempting to reconnect.")
            try:
                self.reconnect(attempts=self._auto_reconnect_attempts, delay=self._auto_reconnect_delay)
            except exception.EventHubConnectionError:
                self.logger.debug("Failed to reconnect automatically.")
            else:
                # If that connection is broken already, its own thread reconnects.
                self.logger.debug("Reconnected successfully.")
                return
        if not self.connected:
            self._put_meta_event("ftrack.meta.disconnected")

    def _put_meta_event(self, topic: str) -> None:
        event = Event(topic)
        self._prepare_event(event)
        self._event_queue.put_own(event)

    def _on_event(self, data: str) -> None:
        payload = self._decode(data)
        args = _list(cast("dict[str, Any]", payload).get("args")) if isinstance(payload, dict) else []
        if len(args) != 1 or not isinstance(args[0], Mapping):
            self.logger.debug("Received a packet without an event: %s", Shortened(data))
            return
        try:
            event = Event.from_wire(cast("Mapping[str, Any]", args[0]))
        except RxHubError:
            self.logger.exception("Failed to convert payload into event: %s", Shortened(cast("object", args[0])))
            return
        if not self._recent.is_duplicate(event):
            self._event_queue.put_received(event)

    def _on_acknowledgement(self, data: str) -> None:
        identifier, _, arguments = data.partition("+")
        args = _list(self._decode(arguments)) if arguments else []
        try:
            callback = self._pop_packet_callback(int(identifier))
        except (KeyError, ValueError):
            self.logger.debug("Received an unexpected acknowledgement: %s", Shortened(data))
            return
        callback(cast("dict[str, Any]", args[0]) if args and isinstance(args[0], dict) else {})

    def _encode(self, data: Any) -> str:
        """Encode data as JSON, with events in wire form."""
        return json.dumps(data, default=self._encode_object_hook, ensure_ascii=False, allow_nan=False)

    def _encode_object_hook(self, item: Any) -> Any:
        if not isinstance(item, Mapping):
            raise TypeError(f"{safe_repr(item, 200)} is not JSON serializable")
        written: dict[str, Any] = dict(cast("Mapping[str, Any]", item))
        if _REPLY in written and callable(getattr(cast("Any", item), "is_stopped", None)):
            written[_WIRE_REPLY] = written.pop(_REPLY)
        return written

    def _decode(self, string: str) -> Any:
        """Decode JSON; `inReplyToEvent` is renamed in the envelope, not inside the data."""
        check_depth(string)
        value: Any = json.loads(string)
        envelopes = [value]
        if isinstance(value, dict):
            envelopes += _list(cast("dict[str, Any]", value).get("args"))
        for envelope in envelopes:
            if isinstance(envelope, dict) and _WIRE_REPLY in envelope:
                fields = cast("dict[str, Any]", envelope)
                fields[_REPLY] = fields.pop(_WIRE_REPLY)
        return envelopes[0]


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


class ProcessorThread(threading.Thread):
    """Receives and handles packets from the server until the connection ends."""

    def __init__(self, client: Packets) -> None:
        super().__init__(name="rxhub.ftrack", daemon=True)
        self.client = client
        self.done = Flag()
        self.silent = False

    def run(self) -> None:
        """Handle packets; unlike in ftrack's client, none ends the thread."""
        client = self.client
        while not self.done.is_set():
            try:
                packet = client._receive_packet()  # pyright: ignore[reportPrivateUsage]
            except exception.EventHubPacketError as error:
                client.logger.debug("Ignoring invalid packet: %s", error)
            except Exception as error:
                client.logger.debug("Stopped receiving packets: %s", error)
                break
            else:
                _handle(client, packet)
        self.done.set()
        if not self.silent:
            # Handled like a disconnect packet of the server, so that the hub reconnects.
            _handle(client, ("0", "", "", ""))

    def cancel(self, silent: bool = False) -> None:
        """End after the current packet; if `silent`, without a disconnect event."""
        self.silent = silent
        self.done.set()


# Not a method: its name could collide with private attributes of threading.Thread.
def _handle(client: Packets, packet: tuple[Any, ...]) -> None:
    try:
        client._handle_packet(*packet)  # pyright: ignore[reportPrivateUsage]
    except Exception:
        client.logger.exception("Could not handle a packet from the server: %s", Shortened(packet))
