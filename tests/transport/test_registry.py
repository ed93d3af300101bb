"""Transports are found by URL scheme: built-in ones, and those of installed distributions."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from rxhub import Event, EventHub
from rxhub.transport.memory import MemoryTransport
from rxhub.transport.registry import GROUP, TransportType, host_and_path, transport_type

LOOPBACK = TransportType(
    create=lambda config: MemoryTransport(),
    location=lambda url: host_and_path(url)[0],
    sources=lambda config: frozenset([("loopback", config.url)]),
    is_remote=False,
)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("loopback", f"{__name__}:LOOPBACK", GROUP)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: EntryPoints([entry]))


@pytest.mark.parametrize(
    ("scheme", "is_remote", "is_secure", "has_streams"),
    [
        ("memory", False, False, False),
        ("http", True, False, False),
        ("https", True, True, False),
        ("nats", True, False, True),
        ("tls", True, True, True),
    ],
)
def test_built_in_transports(scheme: str, is_remote: bool, is_secure: bool, has_streams: bool) -> None:
    kind = transport_type(scheme)
    assert (kind.is_remote, kind.is_secure, kind.has_streams) == (is_remote, is_secure, has_streams)


@pytest.mark.usefixtures("installed")
def test_a_distribution_adds_a_transport_by_an_entry_point() -> None:
    seen: list[Event] = []
    with EventHub("loopback://studio:80/path") as hub:
        assert hub.get_server_url() == "loopback://studio:80" and hub.connected and not hub.secure
        hub.subscribe("topic=a", seen.append)
        hub.publish(Event("a"), synchronous=True)
    assert [event.topic for event in seen] == ["a"]
    with pytest.raises(ValueError, match=r"known ones are http://, https://, loopback://"):
        EventHub("other://studio")


def test_a_hub_loads_its_own_transport_only() -> None:
    program = """
import sys
from rxhub import EventHub
EventHub("memory://studio").close()
print(sorted(name for name in sys.modules if name.startswith(("rxhub.transport.socketio", "rxhub.transport.nats"))))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[]"
