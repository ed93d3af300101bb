"""Servers that are NATS servers of a kind, or none at all, and a plain client that looks into streams."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, NamedTuple, Self

import nats

from rxhub.embedded.binary import find
from rxhub.embedded.server import command_bound_to_parent
from tests.threads import LIMIT

__all__ = ["Admin", "Started", "speaking", "started"]


class Started(NamedTuple):
    """A NATS server: where it listens, and its process."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"


@contextmanager
def started(settings: Mapping[str, Any], port: int = 0, *, tls_first: bool = False) -> Generator[Started]:
    """A NATS server of these settings, on a free port; JetStream's files are gone afterwards.

    `tls_first`: the server says nothing before the connection is encrypted.
    """
    with TemporaryDirectory(prefix="rxhub-nats-") as folder:
        if not port:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = listener.getsockname()[1]
        path = Path(folder) / "settings.json"
        if tls_first:
            settings = {**settings, "tls": {**settings["tls"], "handshake_first": True}}
        jetstream = {"jetstream": {"store_dir": folder, **settings["jetstream"]}} if "jetstream" in settings else {}
        path.write_text(json.dumps({"listen": f"127.0.0.1:{port}", **settings, **jetstream}))
        with (Path(folder) / "log").open("wb") as log:
            command = command_bound_to_parent([str(find()), "-c", str(path)])
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            end = time.monotonic() + LIMIT
            while True:
                assert process.poll() is None and time.monotonic() < end, (Path(folder) / "log").read_text()
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as line:
                    if tls_first or line.recv(5) == b"INFO ":
                        break
                time.sleep(0.01)
            yield Started(port, process)
        finally:
            process.kill()
            process.wait(LIMIT)


@contextmanager
def speaking(words: bytes | Callable[[socket.socket], object] = b"") -> Generator[str]:
    """A server that says these words to everybody who comes, and nothing more; gives its address as a NATS server's."""
    lines: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    lines.append(line)
                    if isinstance(words, bytes):
                        line.sendall(words)
                    else:
                        words(line)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"nats://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(LIMIT)
            for line in lines:
                line.close()


class Admin:
    """A plain client of a server, used from one thread."""

    def __init__(self, url: str, user: str | None = None, password: str | None = None) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(nats.connect(url, user=user, password=password, allow_reconnect=False))

    def ask(self, api: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What JetStream answers; also an error."""
        data = b"" if body is None else json.dumps(body).encode()
        answer = self._runner.run(self._client.request(f"$JS.API.{api}", data, timeout=10))
        return json.loads(answer.data)

    def store(self, subject: str, data: bytes, headers: dict[str, str] | None = None) -> int:
        """Store something; its sequence."""
        answer = self._runner.run(self._client.request(subject, data, timeout=10, headers=headers))
        return json.loads(answer.data)["seq"]

    def last(self, stream: str) -> int:
        return self.ask(f"STREAM.INFO.{stream}")["state"]["last_seq"]

    def stored(self, stream: str) -> list[dict[str, Any]]:
        """What a stream holds, as events."""
        return [json.loads(data) for data in self.data(stream)]

    def data(self, stream: str) -> list[bytes]:
        messages = [self.ask(f"STREAM.MSG.GET.{stream}", {"seq": seq}) for seq in range(1, self.last(stream) + 1)]
        return [base64.b64decode(message["message"].get("data", "")) for message in messages if "message" in message]

    def consumers(self, stream: str) -> list[str]:
        return self.ask(f"CONSUMER.NAMES.{stream}").get("consumers") or []

    def drop_consumers(self, stream: str) -> None:
        for name in self.consumers(stream):
            self.ask(f"CONSUMER.DELETE.{stream}.{name}")

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
