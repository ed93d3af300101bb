"""The services of deploy/compose.yaml as processes of this machine: the same commands, environments and configurations.

Only host names, ports and directories differ, because each container has its own.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any, Final

import yaml

from rxhub.embedded.binary import find
from rxhub.embedded.server import command_bound_to_parent
from rxhub.server import UsersFile
from tests.cli.terminal import COMMAND

__all__ = ["DEPLOY", "ROOT", "TLS", "Service", "Services", "adapted", "program", "scraped", "services", "trusting"]

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
TLS: Final = ROOT / "tests/data/tls/localhost.pem"
"""A certificate for localhost with its key, and its own authority."""

START_TIMEOUT_S: Final = 60.0
_PASSWORD = "p-of-the-tests"
_NGINX = """
user root;
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 2;
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/rxhub.conf;
}}
"""


def program(name: str) -> str:
    """The path of a program; Debian has servers in a directory that not every PATH contains."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    package = {"promtool": "prometheus", "systemd-analyze": "systemd"}.get(name, name)
    assert path is not None, f"These tests need {name}: apt-get install {package}"
    return path


def adapted(text: str, replacements: dict[str, str]) -> str:
    """A configuration with the ports and directories of a test. Each of them must be in the configuration."""
    for old, new in replacements.items():
        assert old in text, f"{old!r} is not in the configuration"
        text = text.replace(old, new)
    return text


def scraped() -> list[tuple[str, int]]:
    """The services that Prometheus scrapes, and their ports."""
    jobs = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    targets = [target for job in jobs for static in job["static_configs"] for target in static["targets"]]
    return [(name, int(port)) for name, port in (target.split(":") for target in targets)]


class Service:
    """A service: its process, and how Compose stops it.

    Attributes:
        name: in the compose file.
        port: its first port on this machine.
        process: the current process, or None.
    """

    def __init__(self, name: str, definition: dict[str, Any], command: list[str], port: int, health: str = "") -> None:
        self.name = name
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self.folder = Path()
        self._command = command
        self._health = health
        self._environment = {str(key): str(value) for key, value in definition.get("environment", {}).items()}
        self._signal = signal.Signals[definition.get("stop_signal", "SIGTERM")]
        self._grace = float(definition.get("stop_grace_period", "10s").removesuffix("s"))

    def start(self) -> None:
        """Start it; it may not be ready yet."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command_bound_to_parent(self._command),
                cwd=self.folder,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        """Wait for its health check. If it ends before, start it again, as Compose does."""
        end = monotonic() + START_TIMEOUT_S
        while not self.is_ready():
            assert monotonic() < end, f"{self.name} is not ready:\n{self.log[-3_000:]}"
            if self.process is not None and self.process.poll() is not None:
                self.start()
            sleep(0.05)

    def is_ready(self) -> bool:
        """The result of its health check."""
        if self.process is None or self.process.poll() is not None:
            return False
        if not self._health:
            return True
        try:
            with urllib.request.urlopen(self._health, timeout=3) as response:
                return response.status == 200
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            pass
        return False

    def stop(self) -> int:
        """Stop it as Compose does. Returns its status, and fails if Compose would have to kill it."""
        assert self.process is not None
        self.process.send_signal(self._signal)
        try:
            status = self.process.wait(self._grace)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {self._grace:g} s:\n{self.log[-3_000:]}") from None
        self.process = None
        return status

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(START_TIMEOUT_S)
            self.process = None

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


class Services:
    """All services, and how to reach them.

    Attributes:
        folder: all files; a directory for each service.
        url: of the proxy.
        user, key: an administrator.
        nats: the URL of all three nodes, without credentials.
        nats_user, nats_password: credentials for it.
    """

    user = "studio"
    nats_user, nats_password = "rxhub", _PASSWORD

    def __init__(self, folder: Path, handlers: Path | None, fast: bool) -> None:
        self.folder = folder
        self._fast = fast
        text = (DEPLOY / "compose.yaml").read_text()
        text = re.sub(r"\$\{RXHUB_NATS_PASSWORD:\?[^}]*\}", _PASSWORD, text)
        self.definitions: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
        self._ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        users = UsersFile(folder / "users.toml")
        self.key = users.add(self.user, admin=True)
        self.metrics_key = users.add("prometheus", publish=["none"], subscribe=["none"])
        self.nats = "nats://" + ",".join(self.address(f"nats-{n}", 4222) for n in (1, 2, 3))
        self.url = f"https://localhost:{self._ports['proxy', 443]}"
        self._handlers = handlers
        self._services: dict[str, Service] = {}

    def address(self, name: str, port: int) -> str:
        """Where a port of a container is on this machine."""
        return f"127.0.0.1:{self._ports[name, port]}"

    def __getitem__(self, name: str) -> Service:
        if name not in self._services:
            service = self._make(name, deepcopy(self.definitions[name]))  # services share what YAML aliases name
            service.folder = self.folder / name
            self._services[name] = service
        return self._services[name]

    def start(self, *names: str) -> None:
        """Start services, and wait until all are ready."""
        for name in names:
            self[name].start()
        for name in names:
            self[name].wait_until_ready()

    def close(self) -> None:
        for service in self._services.values():
            service.kill()

    def clients(self, name: str) -> int:
        """How many clients are connected to a server."""
        return int(re.search(r'"connections": ?(\d+)', self.ask(name, "/stats")).group(1))  # type: ignore[union-attr]

    def ask(self, name: str, path: str, port: int = 8765) -> str:
        """What a service answers to Prometheus, without the proxy."""
        credentials = b64encode(f"prometheus:{self.metrics_key}".encode()).decode()
        url = f"http://{self.address(name, port)}{path}"
        request = urllib.request.Request(url, headers={"Authorization": f"Basic {credentials}"})
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.read().decode()

    def _make(self, name: str, definition: dict[str, Any]) -> Service:
        folder = self.folder / name
        folder.mkdir()
        kind = name.rstrip("-123")
        command: list[str] = definition.get("command", [])
        environment: dict[str, str] = definition.setdefault("environment", {})
        if "RXHUB_NATS" in environment:
            names = {f"nats-{n}:4222": self.address(f"nats-{n}", 4222) for n in (1, 2, 3)}
            definition["environment"] = {**environment, "RXHUB_NATS": adapted(environment["RXHUB_NATS"], names)}
        if kind == "nats":
            return self._nats(name, definition, command, folder)
        if kind == "rxhub":
            changes = {
                "--host=0.0.0.0": f"--host=127.0.0.1\n--port={self._ports[name, 8765]}",
                "--trusted-proxy=172.30.42.10": "--trusted-proxy=127.0.0.1",
                "/etc/rxhub": str(self.folder),
            }
            arguments = adapted("\n".join(command), changes).split("\n")
            port = self._ports[name, 8765]
            health = self._health_check(definition, name, 8765)
            return Service(name, definition, [*COMMAND, *arguments], port, health)
        if kind == "worker":
            assert self._handlers is not None
            (folder / "handlers.py").write_text(self._handlers.read_text())
            port = self._ports[name, 8766]
            changes = {f"{option}=0.0.0.0:8766": f"{option}={port}" for option in ("--health", "--metrics")}
            arguments = adapted("\n".join(command), changes).split("\n")
            definition["environment"]["PYTHONPATH"] = str(ROOT)
            return Service(name, definition, [*COMMAND, *arguments], port, self._health_check(definition, name, 8766))
        assert kind == "proxy"
        self.write_nginx(folder)
        return Service(name, definition, [program("nginx"), "-c", f"{folder}/main.conf"], self._ports[name, 443])

    def write_nginx(self, folder: Path) -> None:
        """Write the configuration of nginx."""
        (folder / "main.conf").write_text(_NGINX.format(folder=folder))
        changes = {
            "listen 443 ssl": f"listen {self.address('proxy', 443)} ssl",
            "/var/log/nginx": str(folder),
            "/etc/nginx/tls/events.pem": str(TLS),
            "/etc/nginx/tls/events.key": str(TLS),
            **{f"rxhub-{n}:8765": self.address(f"rxhub-{n}", 8765) for n in (1, 2)},
        }
        if self._fast:
            changes |= {"fail_timeout=5s": "fail_timeout=1s"}
        (folder / "rxhub.conf").write_text(adapted((DEPLOY / "nginx.conf").read_text(), changes))

    def _nats(self, name: str, definition: dict[str, Any], command: list[str], folder: Path) -> Service:
        changes = {
            "port: 4222": f'listen: "{self.address(name, 4222)}"',
            "http: 8222": f'http: "{self.address(name, 8222)}"',
            "port: 6222": f'listen: "{self.address(name, 6222)}"',
            "/data": str(folder / "data"),
            **{f"nats-{n}:6222": self.address(f"nats-{n}", 6222) for n in (1, 2, 3)},
        }
        if self._fast:
            changes |= {"lame_duck_grace_period: 5s": 'lame_duck_grace_period: "100ms"'}
        configuration = folder / "nats.conf"
        configuration.write_text(adapted((DEPLOY / "nats.conf").read_text(), changes))
        arguments = [adapted(each, {"/etc/nats": str(folder)}) if "/" in each else each for each in command]
        port = self._ports[name, 4222]
        return Service(name, definition, [str(find()), *arguments], port, self._health_check(definition, name, 8222))

    def _health_check(self, definition: dict[str, Any], name: str, port: int) -> str:
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+/\w+", " ".join(definition["healthcheck"]["test"]))
        return adapted(url, {f"127.0.0.1:{port}": self.address(name, port)})


_PORTS: Final = [
    *((f"nats-{n}", port) for n in (1, 2, 3) for port in (4222, 6222, 8222)),
    ("rxhub-1", 8765),
    ("rxhub-2", 8765),
    ("worker-1", 8766),
    ("worker-2", 8766),
    ("proxy", 443),
]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


@contextmanager
def services(handlers: Path | None = None, fast: bool = False) -> Generator[Services]:
    """The services, none of which runs yet; all of them have ended afterwards.

    Args:
        handlers: the module of the workers.
        fast: a NATS node that stops disconnects its clients at once, and nginx skips a failed server for one second;
            both take five seconds otherwise.
    """
    with TemporaryDirectory(prefix="rxhub-deploy-") as folder:
        made = Services(Path(folder), handlers, fast)
        try:
            yield made
        finally:
            made.close()


def trusting() -> ssl.SSLContext:
    """A context that trusts the certificate of the proxy."""
    return ssl.create_default_context(cafile=TLS)
