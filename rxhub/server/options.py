"""The options of a server that its application, its clients and its listener share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rxhub.server.authentication import Credentials
from rxhub.server.limits import Limits, SlowConsumer
from rxhub.server.request_auth import Scope, is_exposed, is_origin_allowed

if TYPE_CHECKING:
    from rxhub.server.backplane import Backplane

__all__ = ["AccessOptions", "ServerOptions"]

_PLAIN_TEXT_REFUSED: Final = (
    "Keys and events would be sent in plain text. Use https. A proxy that uses https must send X-Forwarded-Proto, and "
    "the server must trust it (--trusted-proxy, trusted_proxies=). On a trusted network, start the server with "
    "--plain-text (plain_text=True)."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerOptions:
    """How a server treats its clients.

    Attributes:
        limits: what users may do.
        heartbeat: seconds between two heartbeats. ftrack's JavaScript client disconnects after 15 s without one.
        heartbeat_timeout: seconds without a message after which a client counts as disconnected.
        slow_consumer: what happens to a client that reads too slowly.
        grace: seconds to send queued messages during a shutdown.
        backplane: joins the server with others; None for a single server.

    Raises:
        ValueError: if the heartbeat is not shorter than its timeout.
    """

    limits: Limits = field(default_factory=Limits)
    heartbeat: float = 10.0
    heartbeat_timeout: float = 30.0
    slow_consumer: SlowConsumer = SlowConsumer.DISCONNECT
    grace: float = 5.0
    backplane: Backplane | None = None

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat < self.heartbeat_timeout:
            raise ValueError(
                f"A client needs more time than one heartbeat to answer: heartbeat={self.heartbeat!r} must be above 0 "
                f"and below heartbeat_timeout={self.heartbeat_timeout!r}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessOptions:
    """Which requests a server accepts.

    Attributes:
        origins: web pages that may connect, in addition to the server's own.
        plain_text: accept requests without TLS from other machines.
        trusted_proxies: addresses and networks of proxies whose forwarded headers are used.
        webhooks: file with the incoming webhooks, see `rxhub.web.webhook_options`; None for none.
        sign_in: a user, and as the key a token that signs one browser in to the console as this user.
    """

    origins: Collection[str] = ()
    plain_text: bool = False
    trusted_proxies: Collection[str] = ()
    webhooks: Path | str | None = None
    sign_in: Credentials | None = None

    def refusal_reason(self, scope: Scope) -> str:
        """Why a request is rejected regardless of its credentials; empty if it is not."""
        if not self.plain_text and is_exposed(scope):
            return _PLAIN_TEXT_REFUSED
        if not is_origin_allowed(scope, self.origins):
            return "Pages of this origin may not connect. Add the origin to the origins of the server."
        return ""
