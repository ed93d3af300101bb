"""Forwarded headers: the client's address and scheme, as a trusted proxy reports them.

Anyone can send `X-Forwarded-For` and `X-Forwarded-Proto`. A server that believes them from everywhere lets a client
choose the address by which its wrong keys are counted. So they count only if the connection comes from a proxy that is
named, and are ignored otherwise, loopback included. Each proxy appends the address that it was asked from, so the
addresses are read from the right, and the first one that is not a trusted proxy is the client.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

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
        ValueError: if one of them is neither, or would trust every address.
        TypeError: if a single string is given.
    """
    if isinstance(proxies, str):
        raise TypeError(f"Trusted proxies are a list of addresses, but the string {proxies!r} was given.")
    networks: list[_Network] = []
    for proxy in proxies:
        try:
            network = ip_network(proxy)
        except ValueError as error:
            raise ValueError(
                f"A trusted proxy is an IP address or a network, such as 10.0.0.10 or 10.0.0.0/24, not {proxy!r}: "
                f"{error}."
            ) from None
        mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
        if mapped is not None and network.prefixlen >= _MAPPED_PREFIX:
            network = IPv4Network((mapped, network.prefixlen - _MAPPED_PREFIX))
        if network.prefixlen == 0:
            raise ValueError(
                f"The network {proxy!r} contains every address, so any client could claim to be another one. Name the "
                "proxies."
            )
        networks.append(network)
    return tuple(networks)


class ForwardedHeaders:
    """ASGI middleware that takes the client's address and scheme from a trusted proxy's headers.

    Args:
        app: the application.
        trusted: networks of the proxies that are believed.
    """

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
                    "A proxy at %s sends X-Forwarded-For, which is ignored: wrong keys are counted for all its clients "
                    "together. If the proxy sets that header itself, name it with --trusted-proxy %s "
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
                # Whatever stands to the left of it was not written by a proxy that we know.
                return
            scope["client"] = (str(address), 0)
            if not self._is_trusted(address):
                return


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _address(text: str) -> _Address | None:
    """An address as proxies write it: bare, or with a port (`192.0.2.1:5000`, `[2001:db8::1]:5000`)."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket for both families shows IPv4 addresses as IPv6.
    return getattr(address, "ipv4_mapped", None) or address
