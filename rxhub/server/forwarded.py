"""The client's address and scheme, as trusted proxies report them.

Any client can send `X-Forwarded-For` and `X-Forwarded-Proto`. A server that trusts them lets a client choose the
address by which its failed attempts are counted. So they are used only on connections from configured proxies, and
otherwise ignored, also on loopback. Each proxy appends the address of its peer, so the addresses are read from the
right. The first one that is not a trusted proxy is the client.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

from rxhub.server.request_auth import parsed_address

__all__ = ["ForwardedHeaders", "trusted_networks"]

_Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address
_SCHEMES = {"http": ("http", "ws"), "https": ("https", "wss"), "ws": ("http", "ws"), "wss": ("https", "wss")}
_MAPPED_PREFIX = 96

_logger = logging.getLogger("rxhub.server")


def trusted_networks(proxies: Collection[str]) -> tuple[_Network, ...]:
    """The networks of trusted proxies.

    Args:
        proxies: addresses (`10.0.0.10`) and networks (`10.0.0.0/24`), IPv4 or IPv6.

    Raises:
        ValueError: if one of them is neither, or contains all addresses.
        TypeError: if a single string is given.
    """
    if isinstance(proxies, str):
        raise TypeError(f"trusted_proxies must be a list of addresses, not the string {proxies!r}.")
    networks: list[_Network] = []
    for proxy in proxies:
        try:
            network = ip_network(proxy)
        except ValueError as error:
            raise ValueError(
                f"A trusted proxy must be an IP address or a network, such as 10.0.0.10 or 10.0.0.0/24, not {proxy!r}: "
                f"{error}."
            ) from None
        mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
        if mapped is not None and network.prefixlen >= _MAPPED_PREFIX:
            network = IPv4Network((mapped, network.prefixlen - _MAPPED_PREFIX))
        if network.prefixlen == 0:
            raise ValueError(
                f"The network {proxy!r} contains every address, so any client could use another one's address. List "
                "the proxies."
            )
        networks.append(network)
    return tuple(networks)


class ForwardedHeaders:
    """ASGI middleware that sets the client's address and scheme from the headers of trusted proxies."""

    def __init__(self, app: ASGIApp, trusted: Collection[_Network] = ()) -> None:
        self._app = app
        self._trusted = tuple(trusted)
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if scope["type"] in {"http", "websocket"} and client:
            peer = _address(str(client[0]))
            if self._is_trusted(peer):
                self._apply_headers(scope)
            elif peer is not None and peer.is_loopback and not self._has_warned and _values(scope, b"x-forwarded-for"):
                self._has_warned = True
                _logger.warning(
                    "Ignoring X-Forwarded-For from a proxy at %s, so failed attempts of all its clients are counted "
                    "together. If the proxy sets this header itself, trust it with --trusted-proxy %s "
                    "(trusted_proxies=[%r]).",
                    peer,
                    peer,
                    str(peer),
                )
        await self._app(scope, receive, send)

    def _is_trusted(self, address: _Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)

    def _apply_headers(self, scope: Scope) -> None:
        protocols = _values(scope, b"x-forwarded-proto")
        if protocols and (schemes := _SCHEMES.get(protocols[-1].strip().lower())):
            scope["scheme"] = schemes[scope["type"] == "websocket"]
        for entry in reversed(",".join(_values(scope, b"x-forwarded-for")).split(",")):
            address = _address(entry.strip())
            if address is None:
                # Addresses to the left were not added by a trusted proxy.
                return
            scope["client"] = (str(address), 0)
            if not self._is_trusted(address):
                return


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _address(text: str) -> _Address | None:
    """Parse an address as proxies write it, with or without a port (`192.0.2.1:5000`, `[2001:db8::1]:5000`)."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return parsed_address(text)
