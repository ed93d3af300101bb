"""`nats://` and `tls://`: events stored in a stream of NATS JetStream.

- `options`, `address`, `login`: where and as whom to connect
- `client`, `session`: the transport of a hub
- `reconnecting`, `connection`, `direct_client`, `cancellation`: the connection to NATS
- `publishing`, `ordered_consumer`, `pull_consumer`, `stream_reader`: events to and from the stream
- `streams`, `subjects`, `subject_filters`, `subject_merge`, `event_counts`: names, settings and counts
- `administration`, `stream_changes`, `groups`, `reset_records`, `positions`: changes of streams and groups
- `dead_letter` (one), `dead_letters` (all), `group_replay`, `kv_bucket`: what groups store
- `processing`: the engine of `hub.process`
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from rxhub.text.extras import missing_dependency
from rxhub.transport.nats.address import hosts
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.protocols import Transport
from rxhub.transport.registry import TransportConfig, TransportType

__all__ = ["DEFAULT_STREAM", "NATS", "TLS", "NatsOptions"]

DEFAULT_STREAM: Final = "events"


def _sources(config: TransportConfig) -> frozenset[tuple[str, str]]:
    servers = [host if ":" in host else f"{host}:4222" for host in hosts(config.url).lower().split(",")]
    return frozenset([(config.stream or DEFAULT_STREAM, server) for server in servers])


def _create(config: TransportConfig) -> Transport:
    try:
        from rxhub.transport.nats.client import NatsTransport
    except ModuleNotFoundError as error:
        raise missing_dependency(error, "nats://", "nats") from None
    name = f"rxhub {config.source['host']} {config.source['id'][:8]}"
    stream = DEFAULT_STREAM if config.stream is None else config.stream
    return NatsTransport(_options(config), stream, name, config.outbox)


def _options(config: TransportConfig) -> NatsOptions:
    if not isinstance(config.options, NatsOptions):
        return NatsOptions(config.url, config.user, config.key)
    # Without a key, the user is only the one in the source of events.
    return config.options if config.key is None else NatsOptions((), config.user, config.key).over(config.options)


NATS: Final = TransportType(create=_create, location=hosts, sources=_sources, has_streams=True)
TLS: Final = replace(NATS, is_secure=True)
