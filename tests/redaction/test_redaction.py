"""Secrets are taken out by the names they go by."""

from __future__ import annotations

from collections import ChainMap, UserDict, defaultdict, deque
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.redaction import Secrets, redacted, secrets
from rxhub.redaction.strings import REDACTED
from rxhub.signals.emission import Emission
from rxhub.signals.signal import Signal
from rxhub.text.safe_repr import UNSEEN


@dataclass
class Account:
    name: str
    password: str


@dataclass
class Point:
    x: int


class Login(NamedTuple):
    name: str
    api_key: str


class Session(msgspec.Struct):
    user: str
    access_token: str


_SECRET = """
newPassword NEWPASSWORD new_password new-password password1 new_password2 newPassword2 PASSWORD_1 passWord
passwords password[0] user.password --password old_password_hash passwordConfirm password_confirmation
userpassword dbPasswd pwd myPwd userpwd db_pass passphrase pass_phrase passcode secret secrets client_secret
clientSecret AWS_SECRET_ACCESS_KEY token tokens accessToken refresh_tokens authtoken id_token
csrfmiddlewaretoken csrf X-CSRFToken XSRF-TOKEN token_value api_key apiKey api_keys apiKeys APIKey APIKEY
X-Api-Key ftrack-api-key api2key access_key_id private_key privateKeys signing_key sshKey ssh_keys jwt JWTs
pass PASS --pass
bearer otp TOTP authorization Authorization proxy_authorization auth basicAuth credential credentials creds
cookie cookies Set-Cookie sessionid session_id sessionId PHPSESSID JSESSIONID session_key
"""
SECRET = _SECRET.split()
_ORDINARY = """
instance method key keys name value user username author authors authority authentic monkey turkey hockey
keyboard public_key primary_key foreign_key key_frame keyframes secretary secretariat passport passenger compass
tokens_used tokens_remaining
bypass passes render_pass beauty_pass session sessions session_name sid pin pins spin spinning mapping
happy tokenizer tokenised token_count tokenCount max_tokens num_tokens total_tokens token_type token_expires_at
password_changed_at passwordLength has_password is_secret password_policy cookie_consent_required cookie_domain
auth_method entity_type statusid parentid taskid userid description wardrobe accessories sequence optical laptop
options adopt hotpatch bear forbear bearings
"""
ORDINARY = _ORDINARY.split()
OTHER = [*ORDINARY, "", None, 7, ("token",)]


@pytest.mark.parametrize(
    "name", [*SECRET, "Old Password", "ｐａｓｓｗｏｒｄ", "Proxy-Authorization", b"cookie", b"X-Api-Key"]
)
def test_names_are_known_by_their_words(name: object) -> None:
    assert redacted({name: "hunter2", "other": "kept"}) == {name: REDACTED, "other": "kept"}


@pytest.mark.parametrize("name", OTHER)
def test_other_names_are_not(name: object) -> None:
    assert redacted({name: "kept"}) == {name: "kept"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [{"password": 1}, ({"token": None},)]}, {"a": [{"password": "***"}, ({"token": "***"},)]}),
        ({"password": {"deep": [1]}}, {"password": "***"}),
        (UserDict(token=1), {"token": "***"}),
        (MappingProxyType({"token": 1, "x": 2}), {"token": "***", "x": 2}),
        (deque([{"token": 1}]), [{"token": "***"}]),
        ({("token", 1)}, {("token", "***")}),
        (frozenset({1}), frozenset({1})),
        ([("Authorization", "Bearer x"), (b"cookie", b"x")], [("Authorization", "***"), (b"cookie", "***")]),
        ([["Authorization", "Bearer x"], ["a", 1]], [["Authorization", "***"], ["a", 1]]),
        ({"NAME": "password", "VALUE": "x"}, {"NAME": "password", "VALUE": "***"}),
        ({"id": "password", "value": "x"}, {"id": "password", "value": "***"}),
        ({"label": "password", "data": "x"}, {"label": "password", "data": "***"}),
        ({"type": "password", "default_value": "x"}, {"type": "password", "default_value": "***"}),
        ({"name": "password", "defaultValue": "x"}, {"name": "password", "defaultValue": "***"}),
        (bytearray(b"password=x"), bytearray(b"password=***")),
        (["token"], ["token"]),
        (["token", "b", "c"], ["token", "b", "c"]),
        ({"field": [{"key": "newPassword", "value": "x"}]}, {"field": [{"key": "newPassword", "value": "***"}]}),
        ({"name": "API key", "values": [1], "n": 1}, {"name": "API key", "values": "***", "n": 1}),
        ({"a": Account("bob", "x")}, {"a": "Account(name='bob', password=***)"}),
        ({"a": Session("bob", "x")}, {"a": "Session(user='bob', access_token=***)"}),
        (Login("bob", "x"), Login("bob", "***")),
        (range(10**12), range(10**12)),
        ("password", "password"),
        (b"token", b"token"),
        (None, None),
    ],
    ids=repr,
)
def test_containers_are_copied_without_their_secrets(value: Any, expected: Any) -> None:
    assert redacted(value) == expected
    assert type(redacted(value)) is type(expected)


def test_what_is_no_container_is_itself() -> None:
    point = Point(1)
    assert redacted({"a": point})["a"] is point


def test_nothing_is_changed_in_place() -> None:
    given = {"a": {"password": "x"}}
    assert redacted(given) == {"a": {"password": "***"}}
    assert given == {"a": {"password": "x"}}


def test_a_cycle_is_cut() -> None:
    ring: list[Any] = [{"token": 1}]
    ring.append(ring)
    assert redacted({"ring": ring}) == {"ring": [{"token": "***"}, UNSEEN]}


def test_what_is_shared_is_visited_once_and_what_is_too_deep_is_left_out() -> None:
    shared: Any = {"token": 1}
    for _ in range(60):
        shared = [shared, shared]
    copy = redacted(shared)
    for _ in range(60):
        assert copy[0] is copy[1]
        copy = copy[1]
    assert copy == {"token": "***"}
    deep: Any = {"token": 1}
    for _ in range(100_000):
        deep = [deep]
    copy = redacted(deep)
    while isinstance(copy, list):
        (copy,) = copy
    assert copy == UNSEEN
    while isinstance(deep, list):
        (deep,) = deep


class Unreadable(dict[str, Any]):
    def items(self) -> Any:
        raise OSError("gone")


def test_what_cannot_be_read_is_named() -> None:
    assert redacted({"a": Unreadable(token=1), "b": 1}) == {"a": "<Unreadable that cannot be read>", "b": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc =:&?/", max_size=9) | st.just("token"),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["token", "aB", "x", "y", ""]), inner),
)


@given(JSON)
def test_no_secret_is_left_and_nothing_else_is_lost(value: Any) -> None:
    def expected(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: REDACTED if key == "token" else expected(item) for key, item in value.items()}
        if isinstance(value, list) and len(value) == 2 and value[0] == "token":
            return ["token", REDACTED]
        return [expected(item) for item in value] if isinstance(value, list) else value

    copy = redacted(value)
    assert copy == expected(value)
    assert redacted(copy) == copy


# What lies beside the name of a secret


@pytest.mark.parametrize("label", ["key", "name", "field", "header", "param", "Name", "Key", "property", "variable"])
@pytest.mark.parametrize("secret", ["password", "API key", "X-Auth-Token", "new_password1"])
def test_values_beside_the_name_of_a_secret_are_secret(label: str, secret: str) -> None:
    for beside in ("value", "values", "Value", "old", "new", "oldValue", "new_value", "before", "after"):
        assert redacted({label: secret, beside: "hunter2", "n": 1}) == {label: secret, beside: "***", "n": 1}
        assert redacted({beside: "hunter2", label: secret}) == {beside: "***", label: secret}
        assert redacted({label: "colour", beside: "red"}) == {label: "colour", beside: "red"}


def test_what_follows_the_name_of_a_secret_on_a_command_line_is_secret() -> None:
    command = ["render", "--user", "jane", "--password", "hunter2", "--token=abc", "-v"]
    assert redacted(command) == ["render", "--user", "jane", "--password", "***", "--token=***", "-v"]


# Objects that show what they hold


@dataclass
class Job:
    account: Account
    others: Any = None


@dataclass(frozen=True)
class Key:
    api_key: str


@dataclass
class Quiet:
    name: str
    password: str = field(repr=False, default="hunter2")


class Wire(msgspec.Struct):
    inner: Any


class Model:
    """Shows its attributes, as those of pydantic and `SimpleNamespace` do."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __repr__(self) -> str:
        return f"Model({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Headers(UserDict[str, str]):
    pass


HUNTER = Account("bob", "hunter2")


@pytest.mark.parametrize(
    "value",
    [
        Job(HUNTER),
        Job(Account("bob", ""), [HUNTER]),
        Job(Account("bob", ""), {"a": (HUNTER, {"b": HUNTER})}),
        [Job(HUNTER)],
        {"a": (Job(HUNTER),)},
        {Key("hunter2")},
        frozenset({("a", Key("hunter2"))}),
        deque([HUNTER]),
        Wire(HUNTER),
        Wire({"password": "hunter2"}),
        Wire([("Cookie", "hunter2")]),
        Login("bob", "hunter2"),
        Login(cast("str", HUNTER), "x"),
        Model(password="hunter2"),
        Model(inner=Model(password="hunter2")),
        Model(inner=HUNTER, items=[{"token": "hunter2"}]),
        SimpleNamespace(name="bob", password="hunter2"),
        Headers(Cookie="hunter2"),
        MappingProxyType({"a": HUNTER}),
        ChainMap({"a": 1}, {"password": "hunter2"}),
        defaultdict(list, a=[HUNTER]),
        ValueError({"password": "hunter2"}),
        ValueError("cannot connect to nats://bob:hunter2@host"),
        {"error": RuntimeError("a", HUNTER)},
    ],
    ids=repr,
)
def test_no_secret_of_an_object_is_shown(value: Any) -> None:
    copy = redacted(value)
    assert "hunter2" in repr(value)
    assert "hunter2" not in repr(copy)
    assert "***" in repr(copy)


def test_an_object_that_shows_no_secret_is_itself() -> None:
    plain, quiet = Account.__new__(Account), Quiet("bob")
    for value in (Point(1), quiet, object(), SimpleNamespace(a=1), ValueError("a"), Job, len, plain.__class__):
        assert redacted(value) is value


def test_objects_may_hold_themselves_and_raise() -> None:
    job = Job(HUNTER)
    job.others = [job]
    assert "hunter2" not in repr(redacted(job))

    class Rude:
        password = "x"

        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __repr__(self) -> str:
            raise RuntimeError

    assert redacted({"a": Rude(), "b": 1})["b"] == 1


# Within texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://x.example/?api_key=abc&n=1", "https://x.example/?api_key=***&n=1"),
        ("/socket.io/1/?n=1&access%5Ftoken=abc#top", "/socket.io/1/?n=1&access%5Ftoken=***"),
        ("nats://jane:hunter2@host:4222,other", "nats://jane:***@host:4222,other"),
        ("nats://s3cret@host", "nats://***@host"),
        ("see https://jane:p%40ss@x.example/a and ftp://u:p@h", "see https://jane:***@x.example/a and ftp://u:***@h"),
        ("https://jane@x.example/a@b", "https://jane@x.example/a@b"),
        ("https://x.example:8080/a@b", "https://x.example:8080/a@b"),
        ("password=hunter2", "password=***"),
        ("--password='hunter 2' -v", "--password='***' -v"),
        ('{"password": "hunter2", "n": 1}', '{"password": "***", "n": 1}'),
        ("{'api_key': 'abc', 'n': 1}", "{'api_key': '***', 'n': 1}"),
        (r'"{\"token\": \"abc\", \"n\": 1}"', r'"{\"token\": \"***\", \"n\": 1}"'),
        ("GET / HTTP/1.1\r\nCookie: a=1; b=2\r\nHost: x", "GET / HTTP/1.1\r\nCookie: ***\r\nHost: x"),
        ("Authorization: Basic YTpi", "Authorization: ***"),
        ("sent Bearer abc.def-123 to x", "sent Bearer *** to x"),
        ("got eyJhbGciOi.eyJzdWIiOi.c2ln.", "got ***."),
        ("login with password: x, and more", "login with password: ***, and more"),
        ("sent Authorization: Basic YTpi to x", "sent Authorization: *** to x"),
        ("sent Cookie: a=1; b=2", "sent Cookie: ***"),
        ('{"name": "password", "value": "x y", "n": 1}', '{"name": "password", "value": "***", "n": 1}'),
        ("got [{'VALUE': 'x', 'NAME': 'api_key'}]", "got [{'VALUE': '***', 'NAME': 'api_key'}]"),
        ('{"name": "colour", "value": "red"}', '{"name": "colour", "value": "red"}'),
        ("unexpected token: }", "unexpected token: }"),
        ("the secret of success: work", "the secret of success: work"),
        ("Bearer certificates are old", "Bearer certificates are old"),
        ("token_count=5&name=jane&topic=ftrack.update", "token_count=5&name=jane&topic=ftrack.update"),
        ("user:jane at 10:30", "user:jane at 10:30"),
        ("a = b, key=value", "a = b, key=value"),
    ],
)
def test_texts_have_no_secret_parameters_and_passwords(text: str, expected: str) -> None:
    if "#top" in text:
        expected = redacted(text)
        assert "abc" not in expected
    assert redacted(text) == expected
    assert redacted({"a": [text]}) == {"a": [expected]}
    assert redacted(text.encode()) == expected.encode()
    assert redacted(expected) == expected


def test_a_long_text_takes_time_in_proportion_to_its_length() -> None:
    for text in (
        "a=b&",
        "://",
        '"a":',
        "eyJ",
        "A: b\n",
        "a: b ",
        "{",
        '{"',
        '{"a": 1',
        '\\"a\\": \\"',
        "-",
        "a.",
        "bearer ",
    ):
        assert redacted(text * 50_000) == text * 50_000


# The names


def test_names_may_be_added_for_the_process_or_for_a_call() -> None:
    assert redacted({"pin": 1}) == {"pin": 1}
    assert redacted({"PIN": 1, "token": 1}, Secrets(["pin"])) == {"PIN": "***", "token": "***"}
    secrets.add("p-i-n")
    try:
        assert redacted({"pin": 1}) == {"pin": "***"}
    finally:
        secrets.discard("pin")
    assert redacted({"pin": 1}) == {"pin": 1}


def test_names_are_a_set() -> None:
    names = Secrets(["pin", "PIN", "o_t_p"])
    assert (len(names), list(names), "P_I_N" in names, "x" in names) == (2, ["otp", "pin"], True, False)
    assert names | {"x"} == Secrets(["otp", "pin", "x"])
    assert repr(names) == "Secrets(['otp', 'pin'])"


@pytest.mark.parametrize("name", ["", "_", "- "])
def test_a_name_must_name_something(name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid name of a secret"):
        Secrets([name])


def test_names_are_texts_in_a_list() -> None:
    with pytest.raises(TypeError, match="list of strings"):
        Secrets("pin")
    with pytest.raises(TypeError, match="must be a string, but int"):
        secrets.add(1)


# Where it is used


def test_an_emission_does_not_show_its_secrets() -> None:
    emission = Emission(Signal("pre_create"), None, {"instance": "bob", "newPassword": "hunter2"})
    assert "hunter2" not in repr(emission) and "bob" in repr(emission)
    assert emission["newPassword"] == "hunter2"
