"""`POST /hooks/NAME`. The judges of signatures are GitHub's example and the package `standardwebhooks`."""

from __future__ import annotations

import hmac
import json
import socket
from base64 import b64encode
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import pytest
import standardwebhooks

from rxhub import Event, EventHub
from rxhub.errors import WebhookError
from rxhub.server import Backplane, Limits, Running, Topics, User, Users, running
from rxhub.server.key_hash import Hash, hashed
from rxhub.testing import Nats
from rxhub.web.webhook_signatures import SignatureError, verifier
from tests.stored import stored
from tests.threads import until
from tests.web.api import is_problem

SECRET = "whsec_" + b64encode(b"a secret of thirty-two bytes....").decode()
FILE = f"""
[hooks.github]
scheme = "github"
secret = "github's secret"
topic = "github.{{header.X-GitHub-Event}}.{{body.action}}"

[hooks.payments]
scheme = "standard-webhooks"
secret = "{SECRET}"
topic = "payments.{{body.type}}"
user = "rxhub"

[hooks.own]
scheme = "tests.web.verifiers:by_token"
secret = "token"
topic = "own"
user = "rxhub"

[hooks.nothing]
scheme = "tests.web.verifiers:nothing"
topic = "own"
user = "rxhub"
"""
# https://docs.github.com/en/webhooks/webhook-events-and-payloads, shortened
ISSUE: dict[str, Any] = {
    "action": "opened",
    "issue": {"number": 1, "title": "Spelling error in the README file", "user": {"login": "Codertocat"}},
    "repository": {"full_name": "Codertocat/Hello-World"},
    "sender": {"login": "Codertocat"},
}


@contextmanager
def serving(path: Path, text: str = FILE, **options: Any) -> Generator[Running]:
    file = path / "webhooks.toml"
    file.write_text(text)
    users = Users([User("github", Hash(hashed("key")), publish=Topics(["github.*"]))])
    with running(users=users, webhooks=file, grace=1, **{"limits": Limits(failures_at_once=1000), **options}) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path) as server:
        yield server


@pytest.fixture
def events(server: Running) -> Iterator[list[Event]]:
    """The events that the server delivers."""
    received: list[Event] = []
    with EventHub(server.url, server.api_user, server.api_key) as hub:
        hub.subscribe("not topic=ftrack.meta.*", received.append)
        hub.connect()
        until(lambda: hub.subscriptions_synced)
        with hub.start():
            yield received


def post(server: Running, name: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
    headers = {"content-type": "application/json", **headers}
    return httpx.post(f"{server.url}/hooks/{name}", content=content, headers=headers, trust_env=False, timeout=30)


def github_headers(content: bytes, id: str = "", event: str = "issues") -> dict[str, str]:
    signature = hmac.new(b"github's secret", content, sha256).hexdigest()
    return {
        "x-github-event": event,
        "x-github-delivery": id or str(uuid4()),
        "x-hub-signature-256": f"sha256={signature}",
    }


def standard_headers(content: bytes, id: str = "msg_1", ago: float = 0, secret: str = SECRET) -> dict[str, str]:
    time = datetime.now(UTC) - timedelta(seconds=ago)
    return {
        "webhook-id": id,
        "webhook-timestamp": str(int(time.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(secret).sign(id, time, content.decode()),
    }


def github(server: Running, data: Any = ISSUE, id: str = "") -> httpx.Response:
    content = json.dumps(data).encode()
    return post(server, "github", content, github_headers(content, id))


def payment(server: Running, id: str = "msg_1", ago: float = 0, data: Any = None) -> httpx.Response:
    content = json.dumps(data or {"type": "invoice.paid", "n": 1}).encode()
    return post(server, "payments", content, standard_headers(content, id, ago))


def test_a_signed_request_becomes_an_event(server: Running, events: list[Event]) -> None:
    response = github(server, id="72d3162e-cc78-11e3-81ab-4c9367dc0958")
    assert response.status_code == 202
    (id,) = response.json()["ids"]
    until(lambda: events)
    (event,) = events
    assert (event.topic, event.id, event.data) == ("github.issues.opened", id, ISSUE)
    assert event.source == {"webhook": "github", "delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958"}


def test_a_form_with_a_payload_becomes_an_event(server: Running, events: list[Event]) -> None:
    content = urlencode({"payload": json.dumps(ISSUE)}).encode()
    headers = github_headers(content) | {"content-type": "application/x-www-form-urlencoded"}
    assert post(server, "github", content, headers).status_code == 202
    until(lambda: events)
    assert events[0].data == ISSUE
    other = urlencode({"payload": "{}", "more": "{}"}).encode()
    headers = github_headers(other) | {"content-type": "application/x-www-form-urlencoded"}
    assert is_problem(post(server, "github", other, headers), 400)


def test_standard_webhooks_become_events(server: Running, events: list[Event]) -> None:
    assert payment(server).json() == {"ids": ["payments:msg_1"], "duplicate": False}
    until(lambda: events)
    assert (events[0].topic, events[0].data) == ("payments.invoice.paid", {"type": "invoice.paid", "n": 1})


def test_a_function_checks_signatures(server: Running, events: list[Event]) -> None:
    assert post(server, "own", b"[1]", {"x-token": "token", "x-id": "7"}).json()["ids"] == ["own:7"]
    assert is_problem(post(server, "own", b"[2]", {"x-token": "other", "x-id": "8"}), 401)
    assert is_problem(post(server, "nothing", b"[2]", {}), 401)
    until(lambda: events)
    assert [(event.topic, event.data) for event in events] == [("own", [1])]


def test_a_replay_is_rejected_and_a_repeated_attempt_is_not_published_again(
    server: Running, events: list[Event]
) -> None:
    content = b'{"type":"a"}'
    headers = standard_headers(content, "msg_1", ago=10)
    assert post(server, "payments", content, headers).status_code == 202
    assert is_problem(post(server, "payments", content, headers), 409)
    # The sender tries again, with a new time and signature.
    again = post(server, "payments", content, standard_headers(content, "msg_1"))
    assert (again.status_code, again.json()["duplicate"]) == (202, True)
    # GitHub's signature does not cover the id, so a replay can have another one.
    assert github(server, id="1").status_code == 202
    assert is_problem(github(server, id="1"), 409)
    assert is_problem(github(server, id="2"), 409)
    assert github(server, {**ISSUE, "n": 2}, id="1").json()["duplicate"] is True
    assert github(server, {**ISSUE, "n": 3}, id="3").status_code == 202
    until(lambda: len(events) == 3)
    assert payment(server, "last").status_code == 202
    until(lambda: len(events) == 4)
    assert [event.topic for event in events] == ["payments.a", *["github.issues.opened"] * 2, "payments.invoice.paid"]


@pytest.mark.parametrize("ago", [-310, 310, 10**6])
def test_late_and_early_signatures_are_rejected(server: Running, ago: float) -> None:
    response = payment(server, ago=ago)
    assert is_problem(response, 401)
    assert "clock" in response.json()["detail"]
    assert payment(server, ago=290 if ago > 0 else -290).status_code == 202


def flipped(text: str) -> Iterator[str]:
    """A header with each bit flipped, as far as the result is printable."""
    for place, character in enumerate(text):
        for bit in range(7):
            other = chr(ord(character) ^ 1 << bit)
            if "!" <= other <= "~":
                yield text[:place] + other + text[place + 1 :]


@pytest.mark.parametrize("scheme", ["github", "standard-webhooks"])
def test_a_signature_with_one_other_bit_is_wrong(scheme: str) -> None:
    content = b'{"type": "a"}'
    secret = "github's secret" if scheme == "github" else SECRET
    headers = github_headers(content) if scheme == "github" else standard_headers(content)
    name = "x-hub-signature-256" if scheme == "github" else "webhook-signature"
    verify = verifier(scheme, secret, 300)
    verify(content, headers)
    for wrong in flipped(headers[name]):
        with pytest.raises(SignatureError):
            verify(content, headers | {name: wrong})
    for place in range(len(content) * 8):
        other = bytearray(content)
        other[place // 8] ^= 1 << place % 8
        with pytest.raises(SignatureError):
            verify(bytes(other), headers)
    for each in headers.keys() - {"x-github-event", "x-github-delivery"}:
        with pytest.raises(SignatureError):
            verify(content, {other: value for other, value in headers.items() if other != each})
    for each in headers.keys() & {"webhook-id", "webhook-timestamp"}:
        for wrong in flipped(headers[each]):
            with pytest.raises(SignatureError):
                verify(content, headers | {each: wrong})


def test_githubs_example_is_verified() -> None:
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    verify = verifier("github", "It's a Secret to Everybody", 300)
    verify(b"Hello, World!", {"x-hub-signature-256": expected})


def test_the_judge_and_the_server_agree(server: Running) -> None:
    content = '{"type": "ä\u20ac"}'.encode()
    headers = standard_headers(content)
    assert standardwebhooks.Webhook(SECRET).verify(content, headers) == json.loads(content)
    several = headers | {"webhook-signature": f"v1a,abc v1,AAAA {headers['webhook-signature']}"}
    assert verifier("standard-webhooks", SECRET.removeprefix("whsec_").rstrip("="), 300)(content, several).id == "msg_1"
    wrong = standard_headers(content, secret=b64encode(b"other").decode())
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(SECRET).verify(content, wrong)
    assert is_problem(post(server, "payments", content, wrong), 401)


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("payments", b"", 400),
        ("payments", b"{", 400),
        ("payments", b'{"type": NaN}', 400),
        ("payments", b'{"n": 1}', 422),
        ("payments", b"[]", 422),
        ("payments", b'{"type": {"a": 1}}', 422),
        ("payments", b'{"type": "a b"}', 422),
        ("payments", b'{"type": "' + b"a" * 201 + b'"}', 422),
        ("payments", b'{"type": "a", "n": ' + b"[" * 100 + b"]" * 100 + b"}", 400),
        ("github", b'{"n": 1}', 422),
    ],
)
def test_signed_requests_with_other_content_are_problems(
    server: Running, name: str, content: bytes, status: int
) -> None:
    sign = github_headers if name == "github" else standard_headers
    assert is_problem(post(server, name, content, sign(content)), status)
    # The sender may correct it.
    assert is_problem(post(server, name, content, sign(content)), status)


def test_other_requests_are_problems(server: Running) -> None:
    assert is_problem(post(server, "nothing-here", b"{}", {}), 404)
    assert is_problem(post(server, "github/more", b"{}", {}), 404)
    assert is_problem(httpx.get(f"{server.url}/hooks/github", trust_env=False), 405)
    content = b" " * 2_000_000
    assert is_problem(post(server, "github", content, github_headers(content)), 413)


def test_the_rules_of_the_user_apply(tmp_path: Path) -> None:
    with serving(tmp_path, FILE.replace("github.{", "other.{")) as server:
        assert is_problem(github(server), 403)


def test_wrong_signatures_are_limited(tmp_path: Path) -> None:
    with serving(tmp_path, limits=Limits(failures_at_once=1, failures=0.001)) as server:
        statuses = [post(server, "payments", b"{}", {}).status_code for _ in range(15)]
        assert statuses == [401] * 10 + [429] * 5


def test_incomplete_requests_make_room_for_others(tmp_path: Path) -> None:
    with serving(tmp_path, limits=Limits(connections=10, pending=20)) as server, ExitStack() as sockets:
        port = int(server.url.rpartition(":")[2])
        head = b"POST /hooks/github HTTP/1.1\r\nhost: a\r\ncontent-length: 900000\r\n\r\n{"
        for _ in range(60):
            sender = sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
            with suppress(OSError):
                sender.sendall(head + b" " * 50_000)
        assert github(server).status_code == 202
        until(lambda: server.stats["connections_rejected"] >= 30)


def test_the_stream_keeps_one_event_of_each_delivery(tmp_path: Path, nats: Nats) -> None:
    for _ in range(2):  # a restarted server knows no deliveries
        backplane = Backplane(nats.url, nats.user, nats.password, nats.stream)
        with serving(tmp_path, backplane=backplane) as server:
            assert payment(server, "a").status_code == payment(server, "b").status_code == 202
            assert github(server, id=str(uuid4())).status_code == 202
    assert [event["topic"] for event in stored(nats)] == [*["payments.invoice.paid"] * 2, "github.issues.opened"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hooks", "webhooks.toml"),
        ("[other]", "other"),
        ("[hooks.a]\ntopic = 'a'", "scheme"),
        ("[hooks.a]\ntopic = 'a'\nscheme = 'github'\nmore = 1", "more"),
        ("[hooks.rxhub]\ntopic = 'a'\nscheme = 'github'", "needs a secret"),
        ("[hooks.rxhub]\ntopic = 'a'\nscheme = 'gitlab'\nsecret = 'a'", "'gitlab' is unknown"),
        ("[hooks.rxhub]\ntopic = 'a'\nscheme = 'standard-webhooks'\nsecret = 'whsec_!'", "base64"),
        ("[hooks.rxhub]\ntopic = 'a'\nscheme = 'tests.web.verifiers:missing'", "missing"),
        ("[hooks.rxhub]\ntopic = 'a {body.a}'\nscheme = 'github'\nsecret = 'a'", "'a {body.a}' is not valid"),
        ("[hooks.rxhub]\ntopic = 'a.{query.a}'\nscheme = 'github'\nsecret = 'a'", "is not valid"),
        ("[hooks.rxhub]\ntopic = ''\nscheme = 'github'\nsecret = 'a'", "is not valid"),
        ("[hooks.rxhub]\ntopic = 'a'\nscheme = 'github'\nsecret = 'a'\ntolerance = 0", "tolerance"),
        ("[hooks.'a/b']\ntopic = 'a'\nscheme = 'github'\nsecret = 'a'", "'a/b'"),
        ("[hooks.nobody]\ntopic = 'a'\nscheme = 'github'\nsecret = 'a'", "rxhub user add nobody"),
    ],
)
def test_mistakes_in_the_file_are_reported(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(WebhookError, match=told), serving(tmp_path, text):
        pass


def test_the_secret_is_in_no_message(tmp_path: Path) -> None:
    with pytest.raises(WebhookError) as caught, serving(tmp_path, FILE.replace(SECRET, "hunter2!")):
        pass
    assert "hunter2" not in str(caught.value)
