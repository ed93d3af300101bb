"""`http(s)://`: the Socket.IO 0.9 protocol of ftrack's event server.

- `client`: the transport, which reconnects
- `endpoint`, `handshake`, `connection`, `heartbeat`: one connection, and its timeouts
- `protocol`, `packet`: the protocol without I/O, also for the server
- `subscription_filter`, `subscription_sync`: the subscriptions that the hub sends
- `deduplication`: repeated events
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from rxhub.transport.protocols import Transport
from rxhub.transport.registry import TransportConfig, TransportType, host_and_path

__all__ = ["HTTP", "HTTPS"]


def _sources(config: TransportConfig) -> frozenset[tuple[str, str]]:
    scheme = config.url.partition("://")[0].lower()
    return frozenset([(scheme, "".join(host_and_path(config.url)).strip("/").lower())])


def _create(config: TransportConfig) -> Transport:
    # Their imports take longer than all others of a hub.
    from rxhub.transport.socketio.client import SocketIOTransport
    from rxhub.transport.socketio.endpoint import Endpoint

    return SocketIOTransport(Endpoint(config), config.source, config.outbox)


HTTP: Final = TransportType(create=_create, location=lambda url: host_and_path(url)[0], sources=_sources)
HTTPS: Final = replace(HTTP, is_secure=True)
