"""The least that a server of events could be: it answers each frame with one of an acknowledgement's size, and
forwards it.

It reads nothing, checks nothing and knows two connections. What stands between it and ours is the event server;
uvicorn is in both.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

__all__ = ["main"]

ACKNOWLEDGEMENT = '6:::1+[{"success":true}]'
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_sink: list[Send] = []


async def app(scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/sink":
        _sink[:] = [send]
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": ACKNOWLEDGEMENT})
        await _sink[0]({"type": "websocket.send", "text": message["text"]})


def main() -> None:
    """Serve at a free port, which is printed."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        http="h11",
        lifespan="off",
        log_config=None,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
