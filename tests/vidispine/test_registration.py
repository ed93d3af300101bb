"""Registering notifications with Vidispine."""

from __future__ import annotations

import pytest
from starlette.responses import Response

from rxhub.vidispine import Client, RequestFailed, register_notification
from tests.vidispine.backend import NS, Backend


@pytest.mark.parametrize(
    ("resource", "trigger", "place"),
    [
        ("item", "item/create", "item"),
        ("item", "metadata/modify", "item"),
        ("job", "job/stop", "job"),
        ("file", "file/new", "storage/file"),
        ("deletion-lock", "deletionLock/create", "deletion-lock"),
    ],
)
def test_vidispine_is_told_where_and_when(
    client: Client, backend: Backend, resource: str, trigger: str, place: str
) -> None:
    url = "https://hub.example.com:8443/vidispine/"
    assert register_notification(resource, trigger, url, "s&/crét", method="PUT", retry=2, timeout=3) == "VX-1"
    [(registered, document)] = backend.notifications
    http = document.find(f"{NS}action/{NS}http")
    assert registered == place and http is not None and http.attrib == {"synchronous": "false"}
    assert {child.tag.removeprefix(NS): child.text for child in http} == {
        "retry": "2",
        "contentType": "application/json",
        "url": f"https://vidispine:s%26%2Fcr%C3%A9t@hub.example.com:8443/vidispine/{resource}",
        "method": "PUT",
        "timeout": "3",
    }
    assert document.find(f"{NS}trigger/{NS}{trigger.replace('/', f'/{NS}')}") is not None


def test_the_id_may_come_as_plain_text(client: Client, backend: Backend) -> None:
    backend.answers.append(Response("VX-573\r\n", media_type="text/plain"))
    assert register_notification("job", "job/stop", "http://hub", "secret") == "VX-573"


def test_there_are_no_notifications_on_users(client: Client, backend: Backend) -> None:
    with pytest.raises(ValueError, match="has no notifications on 'user'; choose one of collection, deletion-lock"):
        register_notification("user", "user/create", "http://hub", "secret")
    assert backend.requests == []


@pytest.mark.parametrize("address", ["hub.example.com", "ftp://hub", "http://", "http://me:hunter2@hub"])
def test_the_endpoint_has_a_plain_address(client: Client, address: str) -> None:
    with pytest.raises(ValueError, match="is not valid") as raised:
        register_notification("job", "job/stop", address, "secret")
    assert "hunter2" not in str(raised.value)


def test_the_secret_is_not_in_the_error(client: Client, backend: Backend) -> None:
    backend.answers.append(Response("cannot reach http://vidispine:top%2Fsecret@hub/job", 400))
    with pytest.raises(RequestFailed) as raised:
        register_notification("job", "job/stop", "http://hub", "top/secret")
    assert raised.value.body == "cannot reach http://vidispine:***@hub/job"
