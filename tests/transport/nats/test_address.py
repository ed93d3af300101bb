"""URLs of NATS servers, and what of them may be shown."""

from __future__ import annotations

import pytest

from rxhub import EventHub
from rxhub.transport.nats.address import Address, hosts


@pytest.mark.parametrize(
    ("url", "servers", "user", "password"),
    [
        ("nats://a", ["nats://a:4222"], None, None),
        ("NATS://A:1/", ["nats://a:1"], None, None),
        ("tls://a", ["tls://a:4222"], None, None),
        ("nats://a, b:1,[::1]:2", ["nats://a:4222", "nats://b:1", "nats://[::1]:2"], None, None),
        ("nats://u:p@a,b", ["nats://a:4222", "nats://b:4222"], "u", "p"),
        ("nats://u:p@a:1,nats://u:p@b:2", ["nats://a:1", "nats://b:2"], "u", "p"),
        ("nats://a, tls://b", ["nats://a:4222", "tls://b:4222"], None, None),
        ("nats://token@a", ["nats://a:4222"], None, "token"),
        ("nats://u:p%40%2F,/x@a", ["nats://a:4222"], "u", "p@/,/x"),
    ],
)
def test_what_a_url_names(url: str, servers: list[str], user: str | None, password: str | None) -> None:
    assert Address.parse(url) == Address(tuple(servers), user, password)
    assert "p" not in repr(Address.parse(url)).replace("Address", "")


def test_whom_the_hub_is_made_with_goes_before_whom_the_url_names() -> None:
    assert Address.parse("nats://u:p@a", "me", "mine") == Address(("nats://a:4222",), "me", "mine")
    assert Address.parse("nats://a", "me") == Address(("nats://a:4222",), "me", None)


def test_a_password_is_sent_with_no_other_user_than_its_own() -> None:
    assert Address.parse("nats://u:p@a", "me") == Address(("nats://a:4222",), "me", None)
    assert Address.parse("nats://u:p@a", None, "mine") == Address(("nats://a:4222",), None, "mine")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://u:secret@a", "named nats://host:port"),
        ("nats:", "named nats://host:port"),
        ("nats://", "has no host"),
        ("nats://u:secret@", "has no host"),
        ("nats://u:secret@a:b", "is not a valid server address"),
        ("nats://u:secret@a:99999", "is not a valid server address"),
        ("nats://u:secret@a/path", "is not a valid server address"),
        ("nats://u:secret@a?tls=1", "is not a valid server address"),
        ("nats://u:secret@[::1", "is not a valid server address"),
        ("nats://u:secret@:4222", "is not a valid server address"),
        ("nats://u:secret@a,v:secret@b", "several users"),
    ],
)
def test_what_is_no_such_url_is_told_without_the_password(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        Address.parse(url)
    assert "secret" not in str(raised.value) and raised.value.__cause__ is None


def test_a_hub_shows_its_hosts_alone() -> None:
    hub = EventHub("nats://u:se,cret@a:1,nats://u:se,cret@b", stream="studio")
    assert hub.get_server_url() == "nats://a:1,b" and "cret" not in repr(hub)
    assert not hub.secure and EventHub("tls://a").secure
    assert hosts("nats://u:p@a, b/") == "a, b"
    hub.close()
