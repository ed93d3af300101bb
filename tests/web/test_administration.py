"""Changes of streams and groups over HTTP, on a real NATS server."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.server import Running
from rxhub.testing import Nats
from tests.threads import until
from tests.web.api import api, is_problem
from tests.web.test_stored import USER, server

__all__ = ["server"]


def call(server: Running, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    response = api(server, method, path, body)
    assert response.status_code == status, response.text
    return response.json() if response.content else None


def store(hub: EventHub, *topics: str) -> None:
    for topic in topics:
        hub.publish(Event(topic)).result(10)


def stored(server: Running, name: str) -> dict[str, Any]:
    return {state["name"]: state for state in call(server, "GET", "/streams")["streams"]}.get(name, {})


def test_a_purge_shows_what_it_deletes_and_deletes_it_when_confirmed(
    server: Running, hub: EventHub, nats: Nats, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rxhub.server")
    store(hub, "job.a", "job.b", "other", "job.a")
    path = f"/streams/{nats.stream}/purge"
    shown = call(server, "POST", f"{path}?topic=job.*&until=3")
    assert (shown["done"], shown["purged"], shown["loss"]["events"], shown["loss"]["last_sequence"]) == (False, 0, 2, 2)
    assert stored(server, nats.stream)["messages"] == 4
    done = call(server, "POST", f"{path}?topic=job.*&until=3&confirm=true")
    assert (done["done"], done["purged"]) == (True, 2)
    assert call(server, "POST", f"{path}?topic=absent&confirm=true")["purged"] == 0
    assert stored(server, nats.stream)["messages"] == 2
    assert call(server, "POST", f"{path}?confirm=true")["purged"] == 2
    assert f"The user rxhub purged 2 events of the stream {nats.stream}." in caplog.messages


def test_limits_are_changed_and_the_loss_is_shown_before(server: Running, hub: EventHub, nats: Nats) -> None:
    store(hub, "job.a", "job.b")
    size = stored(server, nats.stream)["bytes"]
    path, wanted = f"/streams/{nats.stream}", {"max_bytes": size - 1, "discard": "old"}
    assert call(server, "PATCH", path, wanted)["loss"]["events"] == 1
    assert stored(server, nats.stream)["max_bytes"] == -1
    assert call(server, "PATCH", f"{path}?confirm=true", wanted)["done"] is True
    state = stored(server, nats.stream)
    assert (state["messages"], state["max_bytes"], state["discard"]) == (1, size - 1, "old")
    for body in ({}, {"max_bytes": 0}):
        assert is_problem(api(server, "PATCH", path, body), 422)
    assert is_problem(api(server, "PATCH", f"{path}?confirm=true", {"replicas": 5}), 409)


def test_a_stream_is_removed_unless_the_server_uses_it(server: Running, nats: Nats) -> None:
    assert is_problem(api(server, "DELETE", f"/streams/{nats.stream}?confirm=true"), 409)
    other = f"{nats.stream}-other"
    with EventHub(nats.url, nats.user, nats.password, stream=other) as hub:
        hub.connect()
        store(hub, "a", "a")
    shown = call(server, "DELETE", f"/streams/{other}")
    assert (shown["done"], shown["loss"]["events"]) == (False, 2) and stored(server, other)
    assert call(server, "DELETE", f"/streams/{other}?confirm=true")["done"] is True
    assert not stored(server, other)
    assert is_problem(api(server, "DELETE", f"/streams/{other}?confirm=true"), 404)


def test_a_group_is_paused_resumed_reset_and_removed(server: Running, hub: EventHub) -> None:
    got: list[str] = []

    def groups() -> list[Any]:
        return call(server, "GET", "/groups")["groups"]

    def group() -> Any:
        return next(each for each in groups() if each["name"] == "renders")

    event = Event("job.a")
    with hub.process("topic=job.*", lambda event: got.append(event.topic), group="renders"):
        hub.publish(event).result(10)
        store(hub, "job.b")
        until(lambda: got == ["job.a", "job.b"] and group()["pending"] == 0)
        call(server, "POST", "/groups/renders/pause", status=204)
        assert group()["is_paused"] is True
        call(server, "POST", "/groups/renders/resume", status=204)
        shown = call(server, "POST", f"/groups/renders/reset?event={event.id}")
        assert shown == {"done": False, "sequence": 1, "repeated": 2, "skipped": 0}
        assert call(server, "POST", "/groups/renders/reset?to=2&confirm=true")["done"] is True
        until(lambda: got == ["job.a", "job.b", "job.b"])
    assert call(server, "DELETE", "/groups/renders")["group"]["name"] == "renders"
    assert call(server, "DELETE", "/groups/renders?confirm=true")["done"] is True
    assert "renders" not in [each["name"] for each in groups()]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/groups/absent/pause", 404),
        ("POST", "/groups/absent/resume", 404),
        ("POST", "/groups/absent/reset?to=first", 404),
        ("DELETE", "/groups/absent", 404),
        ("DELETE", "/groups/a%20b.*", 404),
        ("POST", "/groups/renders/reset", 400),
        ("POST", "/groups/renders/reset?to=1&event=2", 400),
        ("POST", "/groups/renders/reset?to=yesterday", 400),
        ("DELETE", "/streams/absent", 404),
        ("DELETE", "/streams/a%20b", 422),
        ("DELETE", "/streams/*", 422),
        ("POST", "/streams/absent/purge", 404),
        ("POST", "/streams/absent/purge?confirm=yes", 400),
        ("POST", "/streams/{stream}/purge?topic=*.a", 422),
    ],
)
def test_what_does_not_exist_or_is_not_valid_changes_nothing(
    server: Running, nats: Nats, method: str, path: str, status: int
) -> None:
    assert is_problem(api(server, method, path.format(stream=nats.stream)), status)


def test_only_administrators_change_streams_and_groups(server: Running, nats: Nats) -> None:
    for method, path in (
        ("PATCH", f"/streams/{nats.stream}"),
        ("DELETE", f"/streams/{nats.stream}"),
        ("POST", f"/streams/{nats.stream}/purge"),
        ("DELETE", "/groups/g"),
        ("POST", "/groups/g/pause"),
        ("POST", "/groups/g/resume"),
        ("POST", "/groups/g/reset"),
    ):
        assert is_problem(api(server, method, path, None, *USER), 403)
