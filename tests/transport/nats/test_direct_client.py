"""The short way in and out of nats-py's client: what it relies on, and that it carries the same as nats-py's own."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, cast

from hypothesis import assume, given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol import command

from rxhub.testing import Nats
from rxhub.transport.nats.direct_client import NatsClient, encode_publish, parse_headers
from tests.threads import LIMIT

NAMES = st.text("abcXYZ-019", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="\x7f\x85\xa0"), max_size=20)
STATUSES = st.sampled_from(["", " 100", " 404 No Messages", " 409 Consumer Deleted", " 100 Idle Heartbeat", " 503"])


def test_nats_py_has_what_is_used_of_it() -> None:
    assert list(inspect.signature(Client._process_msg).parameters) == [
        "self",
        "sid",
        "subject",
        "reply",
        "data",
        "headers",
    ]
    assert list(inspect.signature(Client._send_command).parameters)[:2] == ["self", "cmd"]
    assert inspect.iscoroutinefunction(Client._flush_pending)
    client: Any = Client()
    assert client._flush_queue is None
    assert list(inspect.signature(Client._connect_command).parameters) == ["self"]
    # That `_over_ssl` silences asyncio is part of the tests of logins.
    assert {"_io_writer", "_bare_io_writer"} <= {*vars(TcpTransport())}


@given(status=STATUSES, headers=st.dictionaries(NAMES, VALUES, max_size=4))
def test_headers_are_read_as_nats_py_reads_them(status: str, headers: dict[str, str]) -> None:
    # A server writes headers behind a status with a description only, and nats-py takes them for one otherwise.
    assume(not headers or not status or " " in status.strip())
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    raw = f"NATS/1.0{status}\r\n{lines}\r\n".encode()
    theirs = asyncio.run(cast("Any", Client())._process_headers(raw))
    assert dict(parse_headers(raw)) == {
        # nats-py has members of an enumeration of texts among the names.
        getattr(name, "value", name): value
        for name, value in (theirs or {}).items()
    }


@given(st.binary(max_size=50))
def test_headers_that_are_none_are_no_error(raw: bytes) -> None:
    parse_headers(raw)


@given(subject=NAMES, reply=NAMES, headers=st.binary(max_size=40), payload=st.binary(max_size=40))
def test_a_publication_is_what_nats_py_writes(subject: str, reply: str, headers: bytes, payload: bytes) -> None:
    assert encode_publish(subject, reply, headers, payload) == command.hpub_cmd(subject, reply, headers, payload)


def test_messages_come_in_order_and_an_error_ends_nothing(nats: Nats) -> None:
    async def run() -> None:
        client, errors, taken = NatsClient(), [], []
        everything = asyncio.Event()

        async def note(error: Exception) -> None:
            errors.append(error)

        def take(subject: str, reply: str, data: bytes, headers: bytes) -> None:
            taken.append((subject, reply, data, dict(parse_headers(headers))))
            if len(taken) == 100:
                everything.set()
            if data == b"50":
                raise ValueError("mine")

        await client.connect(nats.url, user=nats.user, password=nats.password, error_cb=note)
        try:
            subscription = await client.subscribe_directly("direct.>", take)
            await client.write(
                encode_publish(f"direct.{n}", "back", b"NATS/1.0\r\nN: 1\r\n\r\n", b"%d" % n) for n in range(100)
            )
            async with asyncio.timeout(LIMIT):
                await everything.wait()
            assert taken == [(f"direct.{n}", "back", b"%d" % n, {"N": "1"}) for n in range(100)]
            assert [str(error) for error in errors] == ["mine"]
            await subscription.unsubscribe()
            client.forget(subscription)
            await client.publish("direct.later", b"")
            await client.flush()
            assert len(taken) == 100
        finally:
            await client.close()

    asyncio.run(run())
