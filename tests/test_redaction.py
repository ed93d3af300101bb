"""Secrets are taken out by the names they go by."""

from __future__ import annotations

from collections import UserDict, deque
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.emission import Emission
from rxhub.redaction import REDACTED, UNSEEN, Secrets, redacted, secrets
from rxhub.signal import Signal


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


SECRET = "newPassword NEWPASSWORD new_password new-password api_key apiKey X-Api-Key passwd authorization accessToken"
OTHER = ["instance", "method", "key", "tokens", "password_changed_at", "", None, 7, ("token",)]


@pytest.mark.parametrize("name", [*SECRET.split(), "Old Password", "Proxy-Authorization", "Set-Cookie", b"cookie"])
def test_names_are_known_by_their_end_without_case_and_separators(name: object) -> None:
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
    st.none() | st.booleans() | st.integers() | st.text() | st.just("token"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3) | st.sampled_from(["token", "aB"]), inner),
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
    with pytest.raises(ValueError, match="cannot be the name of a secret"):
        Secrets([name])


def test_names_are_texts_in_a_list() -> None:
    with pytest.raises(TypeError, match="list of texts"):
        Secrets("pin")
    with pytest.raises(TypeError, match="is text, but int"):
        secrets.add(1)


# Where it is used


def test_an_emission_does_not_show_its_secrets() -> None:
    emission = Emission(Signal("pre_create"), None, {"instance": "bob", "newPassword": "hunter2"})
    assert "hunter2" not in repr(emission) and "bob" in repr(emission)
    assert emission["newPassword"] == "hunter2"
