"""A TCP proxy that fails on demand: latency, a slow line, a black hole, resets, half-open connections."""

from __future__ import annotations

import asyncio
import socket
import struct
from threading import Event, Thread
from typing import Self

__all__ = ["Proxy"]

_CHUNK = 4096


class _Pair:
    """One connection through the proxy: its two sockets."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.half_open = False

    def reset(self) -> None:
        for writer in (self.client, self.server):
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                # With no time to linger, closing is a reset.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """Passes bytes on to a port of this machine, in a thread of its own.

    Args:
        target: that port.

    Attributes:
        port: where it listens.
        latency: seconds by which everything comes later.
        rate: bytes a second; None for as many as there are.
        black_hole: nothing passes, and nobody is told; what came meanwhile passes afterwards, as with TCP.
        passed: how many bytes went to the target.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.latency = 0.0
        self.rate: float | None = None
        self.black_hole = False
        self.passed = 0
        self._target = target
        self._fuse: int | None = None
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> None:
        """Break all connections by a reset."""
        self._loop.call_soon_threadsafe(self._reset)

    def reset_after(self, count: int) -> None:
        """Break all connections once `count` more bytes have gone to the target, in the middle of whatever that is."""
        self._loop.call_soon_threadsafe(setattr, self, "_fuse", count)

    @property
    def armed(self) -> bool:
        """Whether the reset is still to come."""
        return self._fuse is not None

    def half_open(self) -> None:
        """The target's ends are closed; the clients' ends stay open, and what they send goes nowhere."""

        def cut() -> None:
            for pair in self._pairs:
                pair.half_open = True
                pair.server.transport.abort()

        self._loop.call_soon_threadsafe(cut)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = Thread(target=lambda: self._loop.run_until_complete(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._loop.close()

    async def _run(self) -> None:
        # Not asyncio's own server: what that has just accepted when it is closed, it forgets to close.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            self.port = listener.getsockname()[1]
            self._loop.add_reader(listener, self._accept, listener)
            self._ready.set()
            await self._stopped.wait()
            self._loop.remove_reader(listener)
        self._reset()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        # What was aborted is closed a turn later.
        await asyncio.sleep(0)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # it has gone again
        task = self._loop.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: connection.close())

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            pair = _Pair(writer, back)
            self._pairs.add(pair)
            try:
                await asyncio.gather(self._pump(reader, back, pair, True), self._pump(there, writer, pair, False))
            finally:
                self._pairs.discard(pair)
                back.transport.abort()
        except OSError:
            pass
        finally:
            writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: _Pair, upwards: bool
    ) -> None:
        while data := await reader.read(_CHUNK):
            if self.latency:
                await asyncio.sleep(self.latency)
            if self.rate:
                await asyncio.sleep(len(data) / self.rate)
            while self.black_hole:
                await asyncio.sleep(0.01)
            if pair.half_open:
                continue
            if upwards:
                if self._fuse is not None and len(data) >= self._fuse:
                    writer.write(data[: self._fuse])
                    await writer.drain()
                    self._fuse = None
                    self._reset()
                    return
                if self._fuse is not None:
                    self._fuse -= len(data)
                self.passed += len(data)
            writer.write(data)
            await writer.drain()
        if not pair.half_open:
            writer.close()

    def _reset(self) -> None:
        for pair in self._pairs:
            pair.reset()
