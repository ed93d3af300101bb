"""`/api/openapi.json`: a valid description of what the server does, which schemathesis tries with many requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.routing import Mount, Route

from rxhub.embedded import store
from rxhub.server import Backplane, Limits, Running, User, Users, application, running
from rxhub.server.key_hash import Hash, hashed
from rxhub.web.openapi import OPERATIONS, description
from tests.web.api import api
from tests.web.test_webhooks import FILE

LIMITS = Limits(events=1e9, handshakes=1e9, failures=1e9, failures_at_once=10**9)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("server")
    webhooks = folder / "webhooks.toml"
    webhooks.write_text(FILE)
    with store(folder / "store") as nats:
        backplane = Backplane(nats.url, nats.user, nats.password)
        users = Users([User.with_key("github", "key")])
        quick = Hash(hashed("unknown"))
        with (
            pytest.MonkeyPatch.context() as patch,
            running(users=users, limits=LIMITS, grace=1, backplane=backplane, webhooks=webhooks) as server,
        ):
            patch.setattr("rxhub.server.authentication._DUMMY_HASH", quick)
            yield server


@pytest.fixture(scope="module")
def described(server: Running) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/api/openapi.json")


STREAM = "GET /api/events"

# A schema cannot say which subscriptions, targets, selections and signatures are valid.
STRICTER = {
    "DELETE /api/dead-letters",
    "DELETE /api/groups/{group}",
    "DELETE /api/streams/{stream}",
    "GET /api/dead-letters",
    "GET /api/events",
    "PATCH /api/streams/{stream}",
    "POST /api/dead-letters/retry",
    "POST /api/events",
    "POST /api/explain",
    "POST /api/groups/{group}/pause",
    "POST /api/groups/{group}/replay",
    "POST /api/groups/{group}/reset",
    "POST /api/groups/{group}/resume",
    "POST /api/receivers",
    "POST /api/session",
    "POST /api/streams/{stream}/purge",
    "POST /hooks/{name}",
}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("key", sorted(OPERATIONS))
def test_the_server_keeps_to_its_description(described: Any, server: Running, key: str, mode: GenerationMode) -> None:
    method, path = key.split(" ")
    operation = described[path][method]
    excluded = [positive_data_acceptance] if key in STRICTER else []
    if key == STREAM:
        excluded.append(negative_data_rejection)  # the parameter below may have been the wrong one

    @settings(max_examples=30, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def call(case: Any) -> None:
        if isinstance(case.query.get("reply"), (int, float)):
            case.query["reply"] = 0  # seconds
        if key == STREAM:
            case.query = {**(case.query or {}), "until": "1"}  # so that the response ends
        # The library that sends the request fails with some of them.
        case.headers = {name: value for name, value in (case.headers or {}).items() if name.lower() != "host"}
        headers = {"Authorization": f"Bearer {server.api_user}:{server.api_key}"}
        case.call_and_validate(headers=headers, excluded_checks=excluded, timeout=20)

    try:
        call()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "valid requests exist"


def test_the_description_is_valid(server: Running) -> None:
    document = api(server, "GET", "/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": "/"}]


def routes(tmp_path: Path) -> Iterator[str]:
    """The routes of the HTTP interface, as in the description."""
    file = tmp_path / "webhooks.toml"
    file.write_text(FILE)
    app = application(Users([User.with_key("github", "key"), User.with_key("rxhub", "key")]), webhooks=file)
    for mount in app.routes:
        if isinstance(mount, Mount) and mount.path in {"/api", "/hooks"}:
            for route in mount.routes:
                assert isinstance(route, Route)
                for method in (route.methods or set()) - {"HEAD"}:
                    yield f"{method} {mount.path}{route.path}"


def test_every_route_is_described(tmp_path: Path) -> None:
    assert set(routes(tmp_path)) == set(OPERATIONS)


def test_operations_have_different_ids() -> None:
    ids = [each["operationId"] for path in description("/", "rxhub")["paths"].values() for each in path.values()]
    assert len(set(ids)) == len(ids)
