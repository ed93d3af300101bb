"""Helpers: each operation stands between its two signals."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import Any

import pytest
from starlette.responses import Response

from rxhub.signals.signal import Signal
from rxhub.vidispine import (
    Client,
    CollectionHelper,
    GroupHelper,
    IngestHelper,
    ItemHelper,
    NotConfigured,
    NotFound,
    RequestFailed,
    UserHelper,
    metadata_document,
    signals,
)
from rxhub.vidispine import client as client_module
from tests.vidispine.backend import Backend

Told = list[tuple[str, Any, dict[str, Any]]]
ALL = [thing for name, thing in vars(signals).items() if name.startswith(("vidispine_", "portal_"))]


@pytest.fixture
def told() -> Generator[Told]:
    """What every signal of the catalogue said, in order."""
    heard: Told = []

    def listen(signal: Signal[...], sender: Any, **named: Any) -> None:
        heard.append((signal.name, sender, named))

    for signal in ALL:
        signal.connect(listen)
    yield heard
    for signal in ALL:
        signal.disconnect(listen)


def test_the_catalogue_has_portals_signals() -> None:
    verbs = ("create", "modify", "delete", "get", "ingest")
    steps = ("authenticate", "login", "logout")
    assert {signal.name for signal in ALL} == {
        *(f"vidispine_{when}_{verb}" for when in ("pre", "post") for verb in verbs),
        *(f"portal_{when}_{step}" for when in ("pre", "post") for step in steps),
        "vidispine_auto_import_ntfcn",
        "vidispine_get_item_ntfcn",
        "vidispine_notification",
    }


DOCUMENT = metadata_document({"title": ["Two"]})

# Portal's documentation: the call, the kind of its signals, what both carry, what the first one carries beside it.
OPERATIONS: list[tuple[type[Any], str, tuple[Any, ...], str, dict[str, Any], dict[str, Any]]] = [
    (
        UserHelper,
        "createUser",
        ("john", "John Doe", "hunter2"),
        "create",
        {"instance": "john"},
        {"newRealName": "John Doe", "newPassword": "hunter2"},
    ),
    (UserHelper, "addUserToGroup", ("mary", "editors"), "modify", {"instance": "mary", "group_name": "editors"}, {}),
    (UserHelper, "getUser", ("mary",), "get", {"instance": "mary"}, {}),
    (GroupHelper, "createGroup", ("artists",), "create", {"instance": "artists"}, {}),
    (GroupHelper, "getGroup", ("editors",), "get", {"instance": "editors"}, {}),
    (ItemHelper, "removeItem", ("VX-1",), "delete", {"instance": "VX-1"}, {}),
    (
        ItemHelper,
        "setItemMetadata",
        ("VX-1", DOCUMENT),
        "modify",
        {"instance": "VX-1", "metadata_document": DOCUMENT},
        {},
    ),
    (ItemHelper, "getItemMetadata", ("VX-1",), "get", {"instance": "VX-1"}, {}),
    (
        IngestHelper,
        "importFileToPlaceholder",
        ("VX-1", None, "VX-15", ["lowres"]),
        "ingest",
        {"instance": "VX-1"},
        {"query": {"fileId": "VX-15", "tag": ["lowres"]}},
    ),
    (CollectionHelper, "createCollection", ("Dailies",), "create", {"instance": "Dailies"}, {}),
    (CollectionHelper, "getCollection", ("VX-100",), "get", {"instance": "VX-100"}, {}),
    (CollectionHelper, "addCollectionToCollection", ("VX-100", "VX-101"), "modify", {"instance": "VX-100"}, {}),
]
operations = pytest.mark.parametrize(
    ("helper", "method", "arguments", "verb", "both", "before"), OPERATIONS, ids=[each[1] for each in OPERATIONS]
)


@pytest.fixture
def populated(client: Client, backend: Backend) -> Backend:
    UserHelper().createUser("mary", "Mary", "pass")
    GroupHelper().createGroup("editors")
    for name in ("Rushes", "Trailers"):
        CollectionHelper().createCollection(name)
    backend.requests.clear()
    return backend


@operations
def test_each_operation_is_announced_with_what_portal_documents(
    populated: Backend,
    told: Told,
    helper: type[Any],
    method: str,
    arguments: tuple[Any, ...],
    verb: str,
    both: dict[str, Any],
    before: dict[str, Any],
) -> None:
    getattr(helper(), method)(*arguments)
    assert told == [
        (f"vidispine_pre_{verb}", helper, {**both, "method": method, **before}),
        (f"vidispine_post_{verb}", helper, {**both, "method": method}),
    ]
    assert len(populated.requests) == 1


@operations
def test_a_receiver_that_raises_before_it_prevents_the_operation(
    populated: Backend,
    told: Told,
    helper: type[Any],
    method: str,
    arguments: tuple[Any, ...],
    verb: str,
    both: dict[str, Any],
    before: dict[str, Any],
) -> None:
    def refuse(**named: Any) -> None:
        raise PermissionError("not on a Friday")

    with getattr(signals, f"vidispine_pre_{verb}").connected_to(refuse), pytest.raises(PermissionError, match="Friday"):
        getattr(helper(), method)(*arguments)
    assert populated.requests == []
    assert [name for name, _, _ in told] == [f"vidispine_pre_{verb}"]


@operations
def test_what_vidispine_refuses_is_not_announced_as_done(
    client: Client,
    backend: Backend,
    told: Told,
    helper: type[Any],
    method: str,
    arguments: tuple[Any, ...],
    verb: str,
    both: dict[str, Any],
    before: dict[str, Any],
) -> None:
    backend.answers.append(Response("no", 403))
    with pytest.raises(RequestFailed, match="with status 403: no"):
        getattr(helper(), method)(*arguments)
    assert [name for name, _, _ in told] == [f"vidispine_pre_{verb}"]


def test_the_receiver_runs_before_the_user_exists_and_after(client: Client, backend: Backend) -> None:
    existed: list[bool] = []

    def look(instance: str, **named: Any) -> None:
        existed.append(instance in backend.users)

    with signals.vidispine_pre_create.connected_to(look), signals.vidispine_post_create.connected_to(look):
        assert UserHelper().createUser("john", "John Doe", "hunter2") == {"userName": "john", "realName": "John Doe"}
    assert existed == [False, True]
    assert backend.users["john"] == {"userName": "john", "realName": "John Doe", "password": "hunter2"}


def test_what_is_done_is_done_whatever_a_receiver_raises_after_it(
    client: Client, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def fail(**named: Any) -> None:
        raise RuntimeError("broken receiver")

    def listen(instance: str, **named: Any) -> None:
        heard.append(instance)

    post = signals.vidispine_post_delete
    with post.connected_to(fail), post.connected_to(listen):
        ItemHelper().removeItem("VX-1")
    assert heard == ["VX-1"] and not backend.items
    assert "broken receiver" in caplog.text


def test_where_stands_for_what_plugins_test_by_hand(client: Client, told: Told) -> None:
    removed: list[str] = []

    def listen(instance: str, **named: Any) -> None:
        removed.append(instance)

    signals.vidispine_post_delete.connect(listen, where="method=removeItem and sender=ItemHelper")
    ItemHelper().removeItem("VX-1")
    signals.vidispine_post_delete.send(sender=ItemHelper, instance="VX-2", method="removeShape")
    assert removed == ["VX-1"]


def test_fetching_an_item_also_raises_portals_notification(client: Client, told: Told, backend: Backend) -> None:
    assert ItemHelper().getItem("VX-1", {"content": ["metadata"], "include": ["type", "extradata"]})["id"] == "VX-1"
    assert [name for name, _, _ in told] == ["vidispine_pre_get", "vidispine_post_get", "vidispine_get_item_ntfcn"]
    assert told[-1][1:] == (ItemHelper, {"instance": "VX-1", "method": "getItem"})
    assert backend.requests[0].query == {"content": ["metadata"], "include": ["type,extradata"]}
    with pytest.raises(NotFound):
        ItemHelper().getItem("VX-9")
    assert len(told) == 4


def test_metadata_reach_the_item(client: Client, backend: Backend) -> None:
    ItemHelper().setItemMetadata("VX-1", metadata_document({"title": ["One", "Two"], "note": "<&>"}))
    assert backend.items["VX-1"] == {"title": ["One", "Two"], "note": ["<&>"]}


def test_requests_are_those_of_vidispines_reference(populated: Backend) -> None:
    for helper, method, arguments, *_ in OPERATIONS:
        if method != "removeItem":
            getattr(helper(), method)(*arguments)
    IngestHelper().importFileToPlaceholder("VX-1", uri="file:///a b.mov", tags="lowres")
    ItemHelper().removeItem("VX-1")
    assert populated.asked == [
        "POST /API/user",
        "PUT /API/group/editors/user/mary",
        "GET /API/user/mary",
        "PUT /API/group/artists",
        "GET /API/group/editors",
        "PUT /API/item/VX-1/metadata",
        "GET /API/item/VX-1/metadata",
        "POST /API/import/placeholder/VX-1/container",
        "POST /API/collection",
        "GET /API/collection/VX-100",
        "PUT /API/collection/VX-100/VX-101",
        "POST /API/import/placeholder/VX-1/container",
        "DELETE /API/item/VX-1",
    ]
    queries = {each.path: each.query for each in populated.requests}
    assert queries["/API/collection/VX-100/VX-101"] == {"type": ["collection"]}
    assert queries["/API/import/placeholder/VX-1/container"] == {"uri": ["file:///a b.mov"], "tag": ["lowres"]}


def test_an_import_has_one_source() -> None:
    for sources in ({}, {"uri": "file:///a", "file_id": "VX-1"}):
        with pytest.raises(ValueError, match="needs either uri or file_id"):
            IngestHelper().importFileToPlaceholder("VX-1", **sources)


@pytest.mark.parametrize(
    "call",
    [
        lambda: UserHelper().createUser("", "John", "hunter2"),
        lambda: UserHelper().createUser("jo\0hn", "John", "hunter2"),
        lambda: UserHelper().addUserToGroup("john", ".."),
        lambda: ItemHelper().removeItem(""),
        lambda: CollectionHelper().createCollection(""),
    ],
)
def test_a_call_that_cannot_be_made_is_not_announced(client: Client, told: Told, call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"is not a valid id or name|cannot be sent"):
        call()
    assert told == []


def test_nobody_is_told_while_nobody_is_configured(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_configured", None)
    monkeypatch.delenv("VIDISPINE_URL", raising=False)
    with pytest.raises(NotConfigured):
        ItemHelper().removeItem("VX-1")
    assert told == []


def test_a_helper_can_act_for_a_user_and_on_another_vidispine(client: Client, backend: Backend) -> None:
    class Account:
        username = "mary"

    with Client("http://127.0.0.1:9", "nobody", "nothing") as other:
        assert ItemHelper(client=other).client is other
    ItemHelper(runas="john").getItem("VX-1")
    ItemHelper(runas=Account()).getItem("VX-1")
    ItemHelper().getItem("VX-1")
    assert [each.headers.get("runas") for each in backend.requests] == ["john", "mary", None]


def test_a_new_password_is_shown_nowhere(client: Client, backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    emissions: list[object] = []
    subscription = signals.vidispine_pre_create.subscribe(emissions.append)
    UserHelper().createUser("john", "John Doe", "hunter2<&")
    with pytest.raises(RequestFailed) as raised:
        UserHelper().createUser("john", "John Doe", "hunter2<&")  # the backend repeats the document in its refusal
    subscription.dispose()
    assert raised.value.status == 409
    assert "<password>***</password>" in raised.value.body
    for text in (str(raised.value), repr(raised.value), repr(emissions), caplog.text):
        assert "hunter2" not in text
    assert "hunter2" not in "".join(each.path + str(each.query) for each in backend.requests)
