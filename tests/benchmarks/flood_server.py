"""A server that answers one event with a flood of prebuilt ones: what is timed is the client alone."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from rxhub.transport.socketio.packet import Code, encode, event
from rxhub.transport.socketio.protocol import PATH, Handshake, ServerSession

__all__ = ["FLOOD"]

FLOOD = 2_000
"""Events of a flood."""

_EVENT = {
    "topic": "bench.event",
    "id": "0123456789abcdef0123456789abcdef",
    "data": {"text": "x" * 700, "entities": [{"entityType": "task", "keys": ["name", "status"]}]},
    "sent": None,
    "source": {"id": "fedcba9876543210fedcba9876543210", "user": {"username": "me"}, "host": "here"},
    "target": "",
    "inReplyToEvent": None,
}
_FRAMES = b"".join(
    Frame(Opcode.TEXT, encode(event(json.dumps(_EVENT | {"id": f"{number:032x}"}))).encode()).serialize(mask=False)
    for number in range(FLOOD)
)


def _handshake(connection: ServerConnection, request: Request) -> Response | None:
    return connection.respond(200, Handshake("1").format()) if request.path == PATH else None  # type: ignore[arg-type]


async def _flood(connection: ServerConnection) -> None:
    session = ServerSession()
    # Who has had enough hangs up, perhaps in the middle of an answer.
    with suppress(ConnectionClosed):
        await connection.send(session.open())
        async for text in connection:
            packet = session.receive(text)
            if packet.code is Code.EVENT and packet.id is not None:
                await connection.send(session.accept(packet.id))
                if "bench.flood" in packet.data:
                    connection.transport.write(_FRAMES)


async def _main() -> None:
    async with serve(_flood, "127.0.0.1", 0, process_request=_handshake, ping_interval=None) as listening:
        print(listening.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


if __name__ == "__main__":
    asyncio.run(_main())
