"""NATS servers for the tests: of three nodes that hold each stream three times, and can be killed and held up.

For everything else there is the fixture `nats`, one server for all tests.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM, Signals
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.error import HTTPError

from rxhub.embedded.binary import find
from rxhub.embedded.server import command_bound_to_parent
from tests.threads import suspend

__all__ = ["LIMIT", "Cluster", "Node", "nats_cluster"]

LIMIT: Final = 30.0
"""Seconds; nothing here takes longer than a few."""

_USER, _PASSWORD = "tests", "of-rxhub"
_NODES = 3
_ATTEMPTS = 5


class Node:
    """One server of a cluster: where it listens for clients (`url`), and what it stores (in `folder`)."""

    def __init__(self, name: str, folder: Path, ports: tuple[int, int, int], routes: list[int]) -> None:
        self.name = name
        self.port, self._monitoring, cluster = ports
        self.url = f"nats://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.folder = folder / name
        self._log = folder / f"{name}.log"
        self._configuration = folder / f"{name}.json"
        self._configuration.write_text(
            json.dumps(
                {
                    "server_name": name,
                    "listen": f"127.0.0.1:{self.port}",
                    "http": f"127.0.0.1:{self._monitoring}",
                    "authorization": {"user": _USER, "password": _PASSWORD},
                    "max_payload": 8 * 1024 * 1024,
                    "jetstream": {"store_dir": str(self.folder), "max_file_store": 2**33},
                    "cluster": {
                        "name": "tests",
                        "listen": f"127.0.0.1:{cluster}",
                        "routes": [f"nats://127.0.0.1:{port}" for port in routes],
                    },
                }
            )
        )

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command_bound_to_parent([str(find()), "-c", str(self._configuration)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def signal(self, number: Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: Signals = SIGKILL) -> None:
        """End it and wait until it has; a second time does nothing."""
        if self.process is not None:
            # One that was stopped ends by nothing but SIGKILL until it goes on.
            self.process.send_signal(number)
            self.process.send_signal(SIGCONT)
            self.process.wait(LIMIT)
            self.process = None

    @property
    def is_healthy(self) -> bool:
        return self.ask("/healthz").get("status") == "ok"

    def ask(self, path: str) -> dict[str, Any]:
        """What its monitoring port answers; nothing if it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._monitoring}{path}", timeout=1) as answer:
                return json.load(answer)
        except HTTPError as error:
            error.close()
        except (OSError, ValueError):
            pass
        return {}

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


class Cluster:
    """Three nodes, counted from 0.

    Attributes:
        nodes: they.
        url: all of their addresses, as a hub takes them.
        user: who may connect.
        password: with what.
    """

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.url = "nats://" + ",".join(node.url.removeprefix("nats://") for node in nodes)
        self.user, self.password = _USER, _PASSWORD
        self._held: set[int] = set()

    def kill(self, n: int) -> None:
        """End a node at once, as a power cut does."""
        self.nodes[n].end()
        self._held.discard(n)

    def stop(self, n: int) -> None:
        """Hold a node up: it says nothing more, and its connections stay open."""
        process = self.nodes[n].process
        assert process is not None
        suspend(process.pid)
        self._held.add(n)

    def cont(self, n: int) -> None:
        """Let it go on."""
        self.nodes[n].signal(SIGCONT)
        self._held.discard(n)

    def restart(self, n: int) -> None:
        """Start a node that was killed, or end it in order and start it; it is ready when this returns."""
        self.nodes[n].end(SIGTERM)
        self._held.discard(n)
        self.nodes[n].start()
        self.wait_until_ready()

    def heal(self) -> None:
        """Have all three nodes again, whatever was done to them."""
        for n in list(self._held):
            self.cont(n)
        for node in self.nodes:
            if node.process is None or node.process.poll() is not None:
                node.process = None
                node.start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until streams can be made on all the nodes that run, by what each of them says."""
        running = [node for n, node in enumerate(self.nodes) if node.process is not None and n not in self._held]

        def are_ready() -> bool:
            for node in running:
                assert node.process is not None and node.process.poll() is None, node.log[-2_000:]
                meta = node.ask("/jsz").get("meta_cluster", {})
                # The three count themselves; a follower of a leader that it has not heard yet is not healthy.
                if not meta.get("leader") or meta.get("cluster_size") != _NODES or not node.is_healthy:
                    return False
            return True

        self._until(are_ready, "The cluster is not ready.")

    def leader(self, stream: str) -> int:
        """Who leads a stream now; waits while nobody does."""
        found: list[int] = []

        def somebody_leads() -> bool:
            for n, node in enumerate(self.nodes):
                if node.process is None or n in self._held:
                    continue
                for account in node.ask("/jsz?streams=1&accounts=1").get("account_details", []):
                    for each in account.get("stream_detail", []):
                        # Each says whom it follows: only who names itself is asked.
                        if each["name"] == stream and each.get("cluster", {}).get("leader") == node.name:
                            found.append(n)
                            return True
            return False

        self._until(somebody_leads, f"Nobody leads the stream {stream!r}.")
        return found[0]

    def _until(self, holds: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + LIMIT
        while not holds():
            assert time.monotonic() < deadline, "\n".join([complaint, *(node.log[-2_000:] for node in self.nodes)])
            time.sleep(0.02)


@contextmanager
def nats_cluster() -> Generator[Cluster]:
    """Three nodes with JetStream on free loopback ports, ready; all of it is gone afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="rxhub-nats-")))
        for attempt in range(_ATTEMPTS):
            nodes = _nodes(folder / str(attempt))
            for node in nodes:
                stack.callback(node.end)
                node.start()
            cluster = Cluster(nodes)
            try:
                cluster.wait_until_ready()
            except AssertionError:
                # Somebody else took a port between its choice and its use.
                if not any("address already in use" in node.log for node in nodes) or attempt == _ATTEMPTS - 1:
                    raise
                for node in nodes:
                    node.end()
            else:
                yield cluster
                return


def _nodes(folder: Path) -> list[Node]:
    folder.mkdir()
    ports = _free_ports(3 * _NODES)
    routes = ports[2::3]
    return [Node(f"n{n}", folder, (ports[3 * n], ports[3 * n + 1], ports[3 * n + 2]), routes) for n in range(_NODES)]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]
