"""The console's page of stored events, on a real NATS server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from rxhub import Event, EventHub
from rxhub.server import Backplane, User, Users, running
from rxhub.testing import Nats
from tests.threads import until
from tests.transport.nats.processing.working import Seen
from tests.web.browser import KEY, USER, open_page, sign_in

# Playwright's event loop runs in this thread, and does nothing while a test talks to a hub.
pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.BlockingCallWarning")


@pytest.fixture
def page(browser: Browser, nats: Nats, hub: EventHub) -> Iterator[Page]:
    users = Users([User.with_key(USER, KEY, is_admin=True), User.with_key("reader", KEY)])
    backplane = Backplane(nats.url, nats.user, nats.password, nats.stream)
    with running(users=users, grace=1, backplane=backplane) as server, open_page(browser, server.url) as page:
        yield page


def store(hub: EventHub, *values: int) -> None:
    for value in values:
        hub.publish(Event("job.render", data={"value": value})).result(10)


def stored(page: Page, user: str = USER) -> None:
    sign_in(page, user)
    page.get_by_role("link", name="Stored").click()


def fail(event: Event) -> None:
    raise ValueError(f"<b>no</b> {event.data['value']}")


@pytest.fixture
def dead(hub: EventHub) -> None:
    """Three dead letters."""
    with hub.process("topic=job.render", fail, group="renders", retries=0) as processing:
        store(hub, 1, 2, 3)
        until(lambda: processing.counts.dead == 3)


def test_a_range_is_replayed_into_the_live_page(page: Page, hub: EventHub) -> None:
    store(hub, 1, 2, 3)
    stored(page)
    expect(page.locator(".streams")).to_contain_text("unlimited")
    expect(page.locator("time-histogram rect")).to_have_count(60)
    page.get_by_role("button", name="Replay").click()
    expect(page.locator("#live .state")).to_have_text("Replayed")
    expect(page.locator("event-list .event:visible .data")).to_have_text(["value=3", "value=2", "value=1"])
    page.get_by_role("button", name="Back to live").click()
    expect(page.locator("#live .state")).to_have_text("Live")
    store(hub, 4)
    expect(page.locator("event-list .event:visible .data")).to_have_text(["value=4"])


def test_a_range_is_replayed_into_a_group(page: Page, hub: EventHub) -> None:
    store(hub, 1, 2)
    seen = Seen()
    with hub.process("topic=other", seen, group="renders"):
        stored(page)
        page.get_by_label("Into").select_option("renders")
        page.get_by_role("button", name="Replay", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Replay").click()
        expect(page.locator(".progress")).to_have_text("2 events will be handled again.")
        assert sorted(seen.wait(2)) == [1, 2]


@pytest.mark.usefixtures("dead")
def test_dead_letters_are_retried_and_dropped(page: Page, hub: EventHub) -> None:
    stored(page)
    letters = page.locator(".dead > li")
    expect(letters).to_have_count(3)
    expect(letters.first).to_contain_text("ValueError: <b>no</b> 1")
    letters.first.locator("summary").first.click()
    expect(letters.first.locator("pre")).to_contain_text("in fail")
    expect(letters.first.locator("json-tree")).to_contain_text("value: 1")
    expect(page.locator(".groups")).to_contain_text("renders")
    seen = Seen()
    with hub.process("topic=job.render", seen, group="renders"):
        page.get_by_label("Select dead letter 1").check()
        page.get_by_role("button", name="Retry 1").click()
        expect(page.locator("#toast")).to_have_text("1 will be handled again.")
        expect(letters).to_have_count(2)
        until(lambda: seen == [1])
    page.get_by_label("All").check()
    page.get_by_role("button", name="Drop 2").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel").click()
    expect(letters).to_have_count(2)
    page.get_by_role("button", name="Drop 2").click()
    dialog.get_by_role("button", name="Drop").click()
    expect(page.locator(".no-letters")).to_be_visible()
    assert len(hub.dead_letters) == 0


@pytest.mark.usefixtures("dead")
def test_other_users_cannot_change_dead_letters(page: Page) -> None:
    stored(page, "reader")
    expect(page.locator(".dead > li")).to_have_count(3)
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    expect(page.get_by_role("button", name="Drop")).to_have_count(0)
