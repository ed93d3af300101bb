"""`install()` puts rxhub in the place of ftrack's hub, for programs that were written for that."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from collections.abc import Generator
from pathlib import Path
from typing import Any

import ftrack_api
import ftrack_api.event.base
import ftrack_api.event.hub
import ftrack_api.exception
import pytest

import rxhub.compat.ftrack.hub
from rxhub.compat.ftrack import install, uninstall
from tests.compat.ftrack.judged import OURS, THEIRS
from tests.compat.ftrack.studio import Studio, studio

# As a program would have it that imports ftrack's names before anything else.
from ftrack_api.event.hub import EventHub as ImportedBefore  # isort: skip


@pytest.fixture
def installed() -> Generator[None]:
    install()
    yield
    uninstall()


@pytest.fixture(scope="module")
def place() -> Generator[Studio]:
    with studio() as place:
        yield place


def session(place: Studio, **options: Any) -> Any:
    return ftrack_api.Session(
        place.server_url, place.api_key, place.api_user, schema_cache_path=False, plugin_paths=[], **options
    )


def test_the_modules_hold_our_classes_until_uninstalled() -> None:
    for _ in range(2):
        install()
        install()
        assert ftrack_api.event.hub.EventHub is OURS.EventHub and ImportedBefore is OURS.EventHub
        assert ftrack_api.event.base.Event is OURS.Event
        assert ftrack_api.event.hub.SocketIoSession is rxhub.compat.ftrack.hub.SocketIoSession
        uninstall()
        assert ftrack_api.event.hub.EventHub is THEIRS.EventHub and ImportedBefore is THEIRS.EventHub
        assert ftrack_api.event.base.Event is THEIRS.Event
    uninstall()


def test_our_errors_are_caught_as_theirs_by_whoever_imported_them_when(installed: None) -> None:
    hub = ftrack_api.event.hub.EventHub("http://127.0.0.1:9", "me", "key")
    for error, call in (
        (THEIRS.exception.EventHubConnectionError, hub.connect),
        (THEIRS.exception.NotFoundError, lambda: hub.unsubscribe("x")),
        (THEIRS.exception.NotUniqueError, lambda: [hub.subscribe("topic=a", print, {"id": "x"}) for _ in "ab"]),
        (THEIRS.exception.ParseError, lambda: hub.subscribe("a==b", print)),
    ):
        with pytest.raises(error):
            call()
        with pytest.raises(ftrack_api.exception.Error):
            call()


def test_uninstalled_our_errors_are_rxhub_s_alone() -> None:
    install()
    uninstall()
    for name in ("Error", "NotFoundError", "EventHubConnectionError", "ParseError"):
        assert not issubclass(getattr(OURS.exception, name), THEIRS.exception.Error)


@pytest.mark.parametrize("ours", [True, False])
def test_a_session_with_a_plugin_runs_as_on_ftrack_s_own_hub(
    place: Studio, tmp_path: Path, wait_until: Any, ours: bool
) -> None:
    (tmp_path / "plugin.py").write_text(
        textwrap.dedent(
            """
            def register(session, **options):
                def ready(event):
                    session.told = event["topic"], event["data"]["session"] is session, event["source"]["user"]

                session.event_hub.subscribe("topic=ftrack.api.session.ready", ready)
                session.event_hub.subscribe("topic=studio.ask and data.name=*", lambda event: event["data"])
            """
        ),
        encoding="utf-8",
    )
    if ours:
        install()
    try:
        mine = ftrack_api.Session(
            place.server_url,
            place.api_key,
            place.api_user,
            auto_connect_event_hub=True,
            schema_cache_path=False,
            plugin_paths=[str(tmp_path)],
        )
        assert type(mine.event_hub) is (OURS if ours else THEIRS).EventHub
        assert mine.told == ("ftrack.api.session.ready", True, {"username": place.api_user})
        assert set(mine.types) == {"Location", "Task", "User"}
        mine._auto_connect_event_hub_thread.join(10)
        replies: list[Any] = []
        mine.event_hub.publish(
            ftrack_api.event.base.Event("studio.ask", data={"name": "x"}), on_reply=lambda e: replies.append(e["data"])
        )
        wait_until(mine.event_hub, lambda: replies)
        assert replies == [{"name": "x"}]
        mine.close()
        assert not mine.event_hub.connected
    finally:
        uninstall()


def test_a_session_s_hub_can_be_composed(place: Studio, installed: None, wait_until: Any) -> None:
    mine, seen = session(place), []
    mine.event_hub.connect()
    mine.event_hub.on("topic=studio.*").subscribe(lambda event: seen.append(event.topic))
    mine.event_hub.publish(ftrack_api.event.base.Event("studio.hello"))
    wait_until(mine.event_hub, lambda: seen == ["studio.hello"])
    mine.close()


SCRIPT = """
import logging, sys
import ftrack_api.event.hub
from ftrack_api.event.base import Event
from ftrack_api.exception import EventHubConnectionError

hub = ftrack_api.event.hub.EventHub(*sys.argv[1:4])
seen = []

def callback(event):
    seen.append(event["data"]["n"])

hub.connect()
hub.subscribe("topic=studio.count", callback)
for n in range(3):
    hub.publish(Event(topic="studio.count", data=dict(n=n)))
while len(seen) < 3:
    hub.wait(0.05)
hub.disconnect()
try:
    hub.publish(Event(topic="studio.count"))
except EventHubConnectionError as error:
    print(seen, error)
"""


@pytest.mark.parametrize("line", ["", "import rxhub.compat.ftrack; rxhub.compat.ftrack.install()\n"])
def test_a_script_runs_unchanged_but_for_one_line(place: Studio, tmp_path: Path, line: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(line + SCRIPT, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), place.server_url, place.api_user, place.api_key],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == (
        "[0, 1, 2] Cannot publish event asynchronously as not connected to server.\n",
        "",
        0,
    )


def test_nothing_of_the_process_s_logging_changes(place: Studio, installed: None) -> None:
    before = logging.root.manager.disable, list(logging.root.handlers)
    mine = session(place)
    mine.event_hub.connect()
    mine.event_hub.reconnect()
    mine.close()
    assert (logging.root.manager.disable, list(logging.root.handlers)) == before
