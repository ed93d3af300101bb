"""The least that HTTP endpoints for events could be: Starlette, on uvicorn as `rxhub serve` runs it.

One decodes a list of events and acknowledges it. The other streams what is published to it, and looks at nothing.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

__all__ = ["main"]

_readers: list[asyncio.Queue[bytes]] = []


async def publish(request: Request) -> Response:
    """Decode and acknowledge."""
    events = await request.json()
    return JSONResponse({"ids": [event["id"] for event in events]}, 202)


async def forward(request: Request) -> Response:
    """Send each event to all readers."""
    for event in await request.json():
        frame = f"id: {event['id']}\nevent: {event['topic']}\ndata: {event}\n\n".encode()
        for queue in _readers:
            queue.put_nowait(frame)
    return Response(status_code=202)


async def stream(request: Request) -> Response:
    """A stream of all events."""
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    _readers.append(queue)

    async def frames() -> AsyncGenerator[bytes]:
        while True:
            yield await queue.get()

    return StreamingResponse(frames(), media_type="text/event-stream")


def main() -> None:
    """Serve at a free port, which is printed."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    app = Starlette(
        routes=[
            Route("/publish", publish, methods=["POST"]),
            Route("/forward", forward, methods=["POST"]),
            Route("/stream", stream),
        ]
    )
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
