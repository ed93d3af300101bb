"""An event server that ftrack's clients, in Python and JavaScript, take for one of their own.

- `running`: a server for as long as a `with` block lasts.
- `serve`: a server in the foreground; `rxhub serve` at a terminal.
- `application`: the ASGI application, to be mounted in another one.
- `Users`, `User`, `UsersFile`, `Topics`: who may connect, and do what.
- `Limits`, `SlowConsumer`: how much of it.
- `Backplane`: what joins several servers, and stores events; needs `rxhub[nats]`.
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
    """Import what needs NATS when it is asked for."""
    if name == "Backplane":
        from rxhub.server.backplane import Backplane

        return Backplane
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
