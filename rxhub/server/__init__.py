"""An event server for ftrack's clients in Python and JavaScript, and for rxhub's hubs.

- `running`: runs a server during a `with` block.
- `serve`: runs a server in the foreground, like `rxhub serve`.
- `application`: the ASGI application, to be mounted in another one.
- `Users`, `User`, `UsersFile`, `Topics`: who may connect, and which topics they may publish and receive.
- `Limits`, `SlowConsumer`: limits of clients and users.
- `Backplane`: joins several servers and stores events; needs `rxhub[nats]`.

The modules, from the socket inwards:

- sockets and deadlines: `acceptor`, `uvicorn_protocols`, `receive_memory`, `limits`
- requests: `asgi`, `request_auth`, `authentication`, `users`, `file_lock`, `acl`, `key_hash`, `forwarded`,
  `key_removal`
- clients: `sessions`, `client`, `connection`, `envelope`, `subscribe_request`, `ack_queue`, `send_queue`, `rate_limit`
- routing: `event_server`, `router`, `subscription`, `targets`, `indexes`, `work`
- several servers: `backplane`, `subscription_activation`, `id_leases`
- the process: `serving`, `options`, `collection`, `counters`, `metrics`, `readiness`, `loop_turns`
"""

from typing import TYPE_CHECKING, Any

from rxhub.text.extras import missing_dependency

try:
    from rxhub.server.acl import Topics
    from rxhub.server.asgi import application
    from rxhub.server.limits import Limits, SlowConsumer
    from rxhub.server.serving import Running, running, serve
    from rxhub.server.users import User, Users, UsersFile
except ModuleNotFoundError as error:
    raise missing_dependency(error, "rxhub.server", "server") from None

if TYPE_CHECKING:
    from rxhub.server.backplane import Backplane

__all__ = [
    "Backplane",
    "Limits",
    "Running",
    "SlowConsumer",
    "Topics",
    "User",
    "Users",
    "UsersFile",
    "application",
    "running",
    "serve",
]


def __getattr__(name: str) -> Any:
    """Import `Backplane`, which needs nats-py, on first use."""
    if name == "Backplane":
        from rxhub.server.backplane import Backplane

        return Backplane
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
