"""The endpoint for Vidispine's notifications, served by a real server."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from queue import Queue
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from rxhub.vidispine import notifications, signals
from rxhub.vidispine.fields import Fields
from rxhub.vidispine.notifications import Notification, Notifications
from tests.serving import serving
from tests.vidispine.conftest import Stage
from tests.vidispine.test_fields import JOB, as_json, as_xml

SECRET = "s3crét:with/all"
Heard = Queue[tuple[str, Any, dict[str, Any]]]
Endpoint = Callable[..., AbstractContextManager[tuple[Notifications, httpx.Client]]]


@pytest.fixture
def heard() -> Generator[Heard]:
    """What the notification signals said; `get` waits for it."""
    said: Heard = Queue()

    def listen(signal: Any, sender: Any, **named: Any) -> None:
        said.put((signal.name, sender, named))

    with (
        signals.vidispine_notification.connected_to(listen),
        signals.vidispine_auto_import_ntfcn.connected_to(listen),
    ):
        yield said


@pytest.fixture(scope="module")
def vidispine(server: Stage) -> Generator[httpx.Client]:
    auth = httpx.BasicAuth("vidispine", SECRET)
    # Kept connections may be closed by the server between two tests.
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=server.url, auth=auth, timeout=20, trust_env=False, limits=limits) as vidispine:
        yield vidispine


@pytest.fixture
def endpoint(server: Stage, vidispine: httpx.Client) -> Endpoint:
    """Puts an endpoint up for the time of a block; its end is as that of its server."""

    @contextmanager
    def served(secret: str = SECRET, **options: int) -> Generator[tuple[Notifications, httpx.Client]]:
        server.application = made = Notifications(secret, **options)
        try:
            yield made, vidispine
        finally:
            made.close()

    return served


def post(
    vidispine: httpx.Client, path: str, body: bytes, kind: str = "application/json", **options: Any
) -> httpx.Response:
    return vidispine.request("POST", path, content=body, headers={"Content-Type": kind}, **options)


def raw(url: str, head: str, secret: str | None = "abc") -> socket.socket:
    """A connection on which the head of a request was sent, and nothing of its body."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=20)
    authorization = f"Authorization: Bearer {secret}\r\n" if secret else ""
    connection.sendall(f"POST /job HTTP/1.1\r\nHost: x\r\n{authorization}{head}\r\n".encode("latin-1"))
    return connection


def test_a_job_is_told_to_who_listens_to_all_notifications(endpoint: Endpoint, heard: Heard) -> None:
    with endpoint() as (_, vidispine):
        assert post(vidispine, "/job", JOB).status_code == 200
        name, sender, named = heard.get(timeout=20)
    assert (name, sender) == ("vidispine_notification", "job")
    fields: Fields = named.pop("notification")
    assert named == {"instance": "VX-20", "method": "STOP"}
    assert (fields["status"], fields["currentStepStatus"]) == ("FAILED_TOTAL", "FINISHED")
    assert heard.empty()


@pytest.mark.parametrize("resource", ["item", "collection", "file", "document"])
@pytest.mark.parametrize("verb", ["POST", "PUT"])
def test_an_asset_is_told_under_portals_name_too(endpoint: Endpoint, heard: Heard, resource: str, verb: str) -> None:
    body = as_xml([(f"{resource}Id", "VX-1"), ("action", "CREATE"), ("tag", "a"), ("tag", "b")])
    with endpoint() as (_, vidispine):
        kind = "application/xml; charset=UTF-8"
        assert vidispine.request(verb, f"/{resource}", content=body, headers={"Content-Type": kind}).status_code == 200
        told = [heard.get(timeout=20) for _ in range(2)]
    assert [name for name, _, _ in told] == ["vidispine_notification", "vidispine_auto_import_ntfcn"]
    for _, sender, named in told:
        assert (sender, named["instance"], named["method"]) == (resource, "VX-1", "CREATE")
        assert named["notification"].getlist("tag") == ["a", "b"]


@pytest.mark.parametrize(
    ("resource", "fields", "instance", "method"),
    [
        ("item", [("itemId", "VX-1"), ("action", "DELETE")], "VX-1", "DELETE"),
        ("item", [("itemId", "VX-1"), ("changeSetId", "VX-2"), ("title", "x")], "VX-1", "MODIFY"),
        ("item", [("itemId", "VX-1"), ("notificationTrigger", "SHAPE_CREATE")], "VX-1", "SHAPE_CREATE"),
        ("deletion-lock", [("deletionLockId", "VX-3")], "VX-3", ""),
        ("storage", [("itemId", "VX-1")], None, ""),
    ],
)
def test_a_notification_knows_what_it_is_about(
    resource: str, fields: list[tuple[str, str]], instance: str | None, method: str
) -> None:
    notification = Notification(resource, Fields(fields))
    assert (notification.instance, notification.method) == (instance, method)


def test_a_receiver_can_ask_for_a_resource_and_for_what_happened(endpoint: Endpoint) -> None:
    failed: Queue[str] = Queue()

    def listen(instance: str, **named: Any) -> None:
        failed.put(instance)

    signals.vidispine_notification.connect(
        listen, sender="job", where="method=STOP and notification.status=FAILED_TOTAL"
    )
    with endpoint() as (_, vidispine):
        post(vidispine, "/job", JOB.replace(b"FAILED_TOTAL", b"FINISHED"))
        post(vidispine, "/item", JOB)
        post(vidispine, "/job", JOB)
    assert [failed.get(timeout=20)] == ["VX-20"] and failed.empty()


def test_it_can_be_mounted(heard: Heard) -> None:
    mounted = Notifications(SECRET)
    auth = httpx.BasicAuth("vidispine", SECRET)
    with (
        serving(Starlette(routes=[Mount("/vidispine", mounted)])) as url,
        httpx.Client(base_url=url, auth=auth, timeout=20, trust_env=False) as vidispine,
    ):
        assert post(vidispine, "/vidispine/job", JOB).status_code == 200
    mounted.close()
    assert heard.get_nowait()[1] == "job"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Authorization: Basic\r\n",
        "Authorization: Basic !!!\r\n",
        "Authorization: Basic dmlkaXNwaW5lOndyb25n\r\n",
        "Authorization: Bearer wrong\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \xff\xfe\r\n",
        "Authorization: Digest abc\r\n",
        "Authorization: abc\r\n",
    ],
)
def test_who_does_not_know_the_secret_is_sent_away_before_the_body_is_read(
    server: Stage, endpoint: Endpoint, heard: Heard, authorization: str
) -> None:
    head = f"{authorization}Content-Type: application/json\r\nContent-Length: 1000000\r\n"
    with endpoint("abc"), raw(server.url, head, secret=None) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 401")
    assert heard.empty()


def test_the_secret_may_be_a_token(server: Stage, endpoint: Endpoint, heard: Heard) -> None:
    with endpoint("abc"):
        headers = {"Authorization": "Bearer abc", "Content-Type": "application/json"}
        assert httpx.put(f"{server.url}/job", content=JOB, headers=headers, trust_env=False).status_code == 200
    assert heard.get_nowait()[1] == "job"


def test_an_endpoint_has_a_secret() -> None:
    with pytest.raises(ValueError, match="would accept notifications from anyone"):
        Notifications("")


def test_what_cannot_be_read_is_refused_and_told_to_nobody(endpoint: Endpoint, heard: Heard) -> None:
    entity = b'<!DOCTYPE d [<!ENTITY a "x">]><d>&a;</d>'
    with endpoint(max_body=1000) as (_, vidispine):
        answers = [
            post(vidispine, "/user", JOB),
            post(vidispine, "/job/stop", JOB),
            post(vidispine, "/job", JOB, "text/plain"),
            vidispine.get("/job"),
            post(vidispine, "/job", b"{"),
            post(vidispine, "/job", entity, "application/xml"),
            post(vidispine, "/job", as_json([("a", "x" * 1000)])),
        ]
    assert [answer.status_code for answer in answers] == [404, 404, 415, 405, 400, 400, 413]
    assert "declares a document type" in answers[5].text
    assert heard.empty()


def test_a_body_that_does_not_come_is_given_up(
    server: Stage, endpoint: Endpoint, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "READ_TIMEOUT_S", 0.2)
    with (
        endpoint("abc"),
        raw(server.url, "Content-Type: application/json\r\nContent-Length: 100\r\n") as connection,
    ):
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_body_without_end_is_cut_and_others_are_served(server: Stage, endpoint: Endpoint, heard: Heard) -> None:
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    with (
        endpoint("abc", max_body=100_000),
        raw(server.url, "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n") as endless,
        raw(server.url, f"Content-Type: application/json\r\nContent-Length: {len(JOB)}\r\n") as other,
        raw(server.url, "Content-Type: application/json\r\nContent-Length: 100\r\n") as vanishing,
    ):
        vanishing.sendall(b"{")
        vanishing.close()
        endless.sendall(chunk * 30)
        assert endless.recv(1000).startswith(b"HTTP/1.1 413")
        other.sendall(JOB)
        assert other.recv(1000).startswith(b"HTTP/1.1 200")
    assert heard.get(timeout=20)[1] == "job"


def test_vidispine_hears_nothing_of_what_a_receiver_raises(
    endpoint: Endpoint, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**named: Any) -> None:
        raise RuntimeError("broken receiver")

    left: Queue[str] = Queue()

    def leave(sender: str, **named: Any) -> None:
        left.put(sender)
        raise SystemExit

    with signals.vidispine_notification.connected_to(fail), endpoint() as (_, vidispine):
        assert post(vidispine, "/job", JOB).status_code == 200
        assert heard.get(timeout=20)[1] == "job"
        with signals.vidispine_notification.connected_to(leave, priority=1):
            assert post(vidispine, "/job", JOB).status_code == 200
            assert post(vidispine, "/item", as_json([("itemId", "VX-1")])).status_code == 200
            assert [left.get(timeout=20) for _ in range(2)] == ["job", "item"]
    assert "broken receiver" in caplog.text
    assert "Sending the signals of a notification" in caplog.text


def test_a_slow_receiver_holds_nobody_up_and_a_full_queue_asks_to_come_again(endpoint: Endpoint, heard: Heard) -> None:
    go_on = threading.Event()

    def dawdle(**named: Any) -> None:
        assert go_on.wait(20)

    with (
        signals.vidispine_notification.connected_to(dawdle, priority=1),
        endpoint(capacity=3) as (made, vidispine),
    ):
        answers = [post(vidispine, "/job", JOB.replace(b"VX-20", b"VX-%d" % number)) for number in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 503, 503]
        assert answers[-1].headers["Retry-After"] == "10"
        assert made.waiting == 3 and heard.empty()
        go_on.set()
        told = [heard.get(timeout=20)[2]["instance"] for _ in range(3)]
        assert told == ["VX-0", "VX-1", "VX-2"]
        assert post(vidispine, "/job", JOB).status_code == 200


def test_coroutine_receivers_are_awaited_and_what_they_start_goes_on(endpoint: Endpoint) -> None:
    done: Queue[str] = Queue()
    kept: set[asyncio.Task[None]] = set()

    async def later(instance: str) -> None:
        await asyncio.sleep(0)
        done.put(f"task of {instance}")

    async def listen(instance: str, **named: Any) -> None:
        await asyncio.sleep(0)
        done.put(instance)
        kept.add(asyncio.create_task(later(instance)))

    with signals.vidispine_notification.connected_to(listen), endpoint() as (_, vidispine):
        post(vidispine, "/job", JOB)
        assert [done.get(timeout=20) for _ in range(2)] == ["VX-20", "task of VX-20"]


def test_the_end_of_the_server_waits_for_what_was_taken(heard: Heard) -> None:
    made = Notifications(SECRET)
    auth = httpx.BasicAuth("vidispine", SECRET)
    with serving(made) as url, httpx.Client(base_url=url, auth=auth, timeout=20, trust_env=False) as vidispine:
        for _ in range(20):
            assert post(vidispine, "/job", JOB).status_code == 200
    assert heard.qsize() == 20 and made.waiting == 0


def test_a_closed_endpoint_takes_nothing_and_tells_what_is_lost(
    endpoint: Endpoint, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()
    begun = threading.Event()

    def dawdle(**named: Any) -> None:
        begun.set()
        assert go_on.wait(20)

    with signals.vidispine_notification.connected_to(dawdle), endpoint() as (made, vidispine):
        for _ in range(2):
            post(vidispine, "/job", JOB)
        assert begun.wait(20)
        made.close(timeout=0.1)
        assert "2 notifications are lost" in caplog.text
        assert post(vidispine, "/job", JOB).status_code == 503
        go_on.set()
    made.close()


def test_a_thread_that_could_not_be_started_is_started_for_the_next_notification(
    endpoint: Endpoint, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exhausted(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with endpoint() as (made, vidispine):
        with monkeypatch.context() as exhausted:
            exhausted.setattr(notifications, "Thread", Exhausted)
            assert post(vidispine, "/job", JOB).status_code == 500
        assert made.waiting == 0
        assert post(vidispine, "/job", JOB).status_code == 200
        assert heard.get(timeout=20)[0] == "vidispine_notification"
