"""URLs of NATS servers, and what of them may be shown."""

from __future__ import annotations

import pytest

from rxhub import EventHub
from rxhub.transport.nats.address import hosts
from rxhub.transport.nats.options import NatsOptions


@pytest.mark.parametrize(
    ("url", "servers", "user", "password"),
    [
        ("nats://a", ["nats://a:4222"], None, None),
        ("NATS://A:1/", ["nats://a:1"], None, None),
        ("tls://a", ["tls://a:4222"], None, None),
        ("nats://a, b:1,[::1]:2", ["nats://a:4222", "nats://b:1", "nats://[::1]:2"], None, None),
        ("nats://u:pw7@a,b", ["nats://a:4222", "nats://b:4222"], "u", "pw7"),
        ("nats://u:pw7@a:1,nats://u:pw7@b:2", ["nats://a:1", "nats://b:2"], "u", "pw7"),
        ("nats://a, tls://b", ["nats://a:4222", "tls://b:4222"], None, None),
        ("nats://seven7@a", ["nats://a:4222"], None, "seven7"),
        ("nats://u:pw7%40%2F,/x@a", ["nats://a:4222"], "u", "pw7@/,/x"),
    ],
)
def test_what_a_url_names(url: str, servers: list[str], user: str | None, password: str | None) -> None:
    assert NatsOptions(url) == NatsOptions(tuple(servers), user, password)
    assert password is None or password not in repr(NatsOptions(url))


def test_whom_the_hub_is_made_with_goes_before_whom_the_url_names() -> None:
    assert NatsOptions("nats://u:pw7@a", "me", "mine") == NatsOptions(("nats://a:4222",), "me", "mine")
    assert NatsOptions("nats://a", "me") == NatsOptions(("nats://a:4222",), "me", None)


def test_a_password_is_sent_with_no_other_user_than_its_own() -> None:
    assert NatsOptions("nats://u:pw7@a", "me") == NatsOptions(("nats://a:4222",), "me", None)
    assert NatsOptions("nats://u:pw7@a", None, "mine") == NatsOptions(("nats://a:4222",), None, "mine")


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
        ("nats://u:secret@a?tls=1", "Supported: credentials, nkey, jwt, ca, certificate, private_key, tls_first"),
        ("nats://a?password=secret", "the setting 'password'"),
        ("nats://u:with?secret@a?secret", "has a setting after its question mark"),
        ("nats://a?tls_first=secret", "The value of tls_first is not valid"),
        ("nats://a?credentials=/run/secret@studio.creds", "An @ in a file name is written %40"),
        ("nats://u:secret@a?credentials=x", "Several logins were given: user, credentials"),
        ("nats://a?private_key=x", "without its certificate"),
        ("nats://u:secret@[::1", "is not a valid server address"),
        ("nats://u:secret@:4222", "is not a valid server address"),
        ("nats://u:secret@a,v:secret@b", "several users"),
        ("nats://u:secret@a,nats://v:secret@b", "several logins"),
        ("nats://u:secret@a?ca=x,nats://b?ca=y", "several values of ca"),
    ],
)
def test_what_is_no_such_url_is_told_without_the_password(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        NatsOptions(url)
    assert "secret" not in str(raised.value) and raised.value.__cause__ is None


def test_a_hub_shows_its_hosts_alone() -> None:
    hub = EventHub("nats://u:se,cret@a:1,nats://u:se,cret@b", stream="studio")
    assert hub.get_server_url() == "nats://a:1,b" and "cret" not in repr(hub)
    assert not hub.secure and EventHub("tls://a").secure
    assert hosts("nats://u:pw7@a, b/") == "a, b"
    hub.close()


@pytest.mark.parametrize("url", ["nats://jane:hunter2@127.0.0.1:1", "http://jane:hunter2@127.0.0.1:1"])
def test_no_representation_of_a_hub_or_its_parts_contains_a_password(url: str) -> None:
    hub = EventHub(url, api_key="hunter2", api_user="jane") if url.startswith("http") else EventHub(url)
    assert "hunter2" not in repr(hub)
    assert not [name for name, part in vars(hub).items() if "hunter2" in repr(part)]
    with pytest.raises(ValueError, match="Could not determine scheme") as raised:
        EventHub(url.partition("://")[2])
    assert "hunter2" not in str(raised.value)
