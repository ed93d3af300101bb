"""The console is readable and usable: on narrow and wide screens, in both themes, and with assistive technology.

It leaves a screenshot of each page in its temporary directory. `docs/images` contains some of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from rxhub import Event, EventHub, sample_events
from rxhub.server import Backplane, Running, User, Users, running
from rxhub.testing import Nats
from tests.npm import install
from tests.threads import until
from tests.web.browser import KEY, USER, open_page, sign_in

# Playwright's event loop runs in this thread, and does nothing while a test talks to a hub.
pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.BlockingCallWarning")

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FINDINGS = """async (tags) => (await axe.run({ runOnly: tags })).violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`))"""


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return (install("axe", tmp_path_factory.mktemp("axe")) / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture
def server(nats: Nats) -> Iterator[Running]:
    users = Users([User.with_key(USER, KEY, is_admin=True)])
    backplane = Backplane(nats.url, nats.user, nats.password, nats.stream)
    with running(users=users, grace=1, backplane=backplane) as server:
        yield server


@pytest.fixture
def studio(nats: Nats, server: Running) -> Iterator[EventHub]:
    """A hub with subscriptions and dead letters."""

    def fail(event: Event) -> None:
        raise FileNotFoundError(f"There are no frames of job {event.data['job']}.")

    with (
        EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as tasks,
        EventHub(server.url, USER, KEY) as hub,
    ):
        with tasks.process("topic=studio.render.finished", fail, group="thumbnails", retries=0) as processing:
            tasks.connect()
            hub.connect()
            with hub.start():
                hub.on("topic=studio.render.* and data.progress < 0.5").subscribe()
                hub.on("source.user.username=artist*").subscribe()
                for event in sample_events().head(120):
                    hub.publish(event)
                until(lambda: processing.counts.dead > 5)
                yield hub


@pytest.mark.usefixtures("studio")
@pytest.mark.parametrize(
    ("width", "scheme"), [(390, "light"), (390, "dark"), (1440, "light"), (1440, "dark"), (2560, "light")]
)
def test_pages_have_no_findings(
    browser: Browser, server: Running, studio: EventHub, axe: str, width: int, scheme: str, tmp_path: Path
) -> None:
    found: list[str] = []

    def check(name: str) -> None:
        page.wait_for_timeout(300)
        page.screenshot(path=tmp_path / f"console-{name}-{width}-{scheme}.png")
        found.extend(f"{name}: {finding}" for finding in page.evaluate(FINDINGS, TAGS))
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            found.append(f"{name}: {wide} pixels wide")

    # The policy forbids code from a string, which axe is here.
    with open_page(browser, server.url, width, color_scheme=scheme, bypass_csp=True) as page:
        page.evaluate(axe)
        check("sign-in")
        sign_in(page)
        for event in sample_events().head(60):
            studio.publish(Event(event.topic, data=event.data, source=event.source))
        expect(page.locator("#live .count")).to_contain_text("6")
        check("live")
        box = page.get_by_role("combobox", name="Filter")
        box.press_sequentially("data.")
        expect(page.get_by_role("option").first).to_be_visible()
        check("completion")
        page.keyboard.press("Escape")
        box.fill("topic=studio.render.* && data.frames > 5")
        expect(page.locator("#live mark")).to_be_visible()
        check("error")
        box.fill("")
        page.locator("event-list .event:visible", has_text="studio.render").first.click()
        expect(page.get_by_role("complementary", name="Event")).to_be_visible()
        check("event")
        page.get_by_role("button", name="Why (not)?").click()
        page.get_by_role("combobox", name="Subscription", exact=True).fill(
            "topic=studio.* and not data.tags=wip and data.frames > 5000"
        )
        page.keyboard.press("Enter")
        expect(page.locator("#explanation .tree")).to_contain_text("found")
        check("explanation")
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        show(page, "Subscribers")
        page.get_by_role("button", name="Show receivers").click()
        expect(page.locator("#subscribers tbody tr")).not_to_have_count(0)
        check("subscribers")
        show(page, "Publish")
        page.get_by_role("textbox", name="Data").fill('{"shot": }')
        check("publish")
        show(page, "Stored")
        expect(page.locator("time-histogram rect")).to_have_count(60)
        page.locator(".dead summary").first.click()
        check("stored")
        page.get_by_label("All").check()
        page.locator("#stored .drop").click()
        check("confirmation")
    if found:
        pytest.fail("\n".join(found))


def show(page: Page, name: str) -> None:
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
