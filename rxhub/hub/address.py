"""The address of a hub: its URL and what the transport makes of it."""

from __future__ import annotations

from dataclasses import dataclass

from rxhub.transport.registry import TransportConfig, TransportType, transport_type

__all__ = ["HubAddress"]


@dataclass(frozen=True)
class HubAddress:
    """Where a hub's events come from.

    Attributes:
        location: the host and port, or the name, without credentials.
        sources: identifies what the events are read from; hubs that share an element receive the same events.
    """

    scheme: str
    location: str
    sources: frozenset[tuple[str, str]]
    type: TransportType
    config: TransportConfig

    @classmethod
    def parse(cls, config: TransportConfig) -> HubAddress:
        url = config.url
        if not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"A server URL is a string, but {type(url).__name__} was given.")
        if "://" not in url:
            raise ValueError(
                # The text before an @ may contain a password.
                f"Could not determine scheme from server url {url.rpartition('@')[2]!r}. Write http:// or https:// "
                "before the name of an event server, nats:// before a NATS server, memory:// or memory://name for a "
                "hub within this process."
            )
        from urllib.parse import urlsplit  # its import takes longer than that of the hub

        try:
            scheme = urlsplit(url).scheme
        except ValueError as error:
            # The text before an @ may contain a password.
            raise ValueError(f"{url.rpartition('@')[2]!r} is not a valid server URL: {error}.") from None
        kind = transport_type(scheme)
        if config.stream is not None and not kind.has_streams:
            raise ValueError(f"{scheme}:// has no streams, but stream={config.stream!r} was given. Use nats://.")
        return cls(scheme, kind.location(url), kind.sources(config), kind, config)

    @property
    def url(self) -> str:
        """The URL without credentials and path."""
        return f"{self.scheme}://{self.location}"
