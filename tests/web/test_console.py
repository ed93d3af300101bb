"""The console in Chromium."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from rxhub import Event, EventHub
from rxhub.redaction import secrets
from rxhub.server import Limits, Running, Topics, User, Users, UsersFile, running
from rxhub.server.key_hash import Hash, hashed
from tests.web.browser import KEY, USER, open_page, sign_in

# Playwright's event loop runs in this thread, and does nothing while a test talks to a hub.
pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.BlockingCallWarning")

LIMITED = User("limited", Hash(hashed("key")), publish=Topics(["studio.*"]), subscribe=Topics(["studio.*"]))
READER = User("reader", Hash(hashed("key")), publish=Topics([]), subscribe=Topics(["studio.*"]))


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    users = Users([User.with_key(USER, KEY, is_admin=True), LIMITED, READER])
    with running(users=users, limits=Limits(failures=1_000, failures_at_once=1_000), grace=1) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Running) -> Iterator[Page]:
    with open_page(browser, server.url) as page:
        sign_in(page)
        yield page


def publish(server: Running, *events: dict[str, Any], user: str = USER, key: str = KEY) -> None:
    response = httpx.post(f"{server.url}/api/events", json=list(events), auth=(user, key), trust_env=False)
    assert response.status_code == 202, response.text


@contextmanager
def client(server: Running, subscription: str, user: str = USER, key: str = KEY) -> Iterator[EventHub]:
    """A hub with a subscriber that replies."""
    with EventHub(server.url, user, key) as hub:
        hub.connect()
        hub.subscribe(subscription, lambda event: {"frames": event.data["frames"] + 1})
        with hub.start():
            # The server handles the packets of a client in order.
            hub.publish(Event("studio.other")).result(20)
            yield hub


def rows(page: Page) -> Any:
    return page.locator("event-list .event:visible")


def open_event(page: Page, topic: str) -> Any:
    rows(page).filter(has_text=topic).first.click()
    details = page.get_by_role("complementary", name="Event")
    expect(details.get_by_role("heading", level=2)).to_have_text(topic)
    return details


def test_a_user_signs_in_and_out(browser: Browser, server: Running) -> None:
    with open_page(browser, server.url) as page:
        page.get_by_label("User").fill(USER)
        page.get_by_label("Key").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The user or the key is wrong.")
        sign_in(page)
        page.reload()
        expect(page.locator("#live .state")).to_have_text("Live")
        (cookie,) = page.context.cookies()
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"  # type: ignore[typeddict-item]
        assert page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in to rxhub")).to_be_visible()
        assert page.context.cookies() == []


def test_events_appear_with_their_summary(page: Page, server: Running) -> None:
    publish(server, {"topic": "studio.done", "data": {"shot": "sh010", "frames": [1, 2], "password": "geheim"}})
    row = rows(page).first
    expect(row.locator(".topic")).to_have_text("studio.done")
    expect(row.locator(".data")).to_have_text("shot=sh010  frames=[1,2]  password=***")
    expect(row.locator(".source")).to_contain_text(USER)
    expect(page.locator("topic-rates")).to_contain_text("studio.done")
    assert "geheim" not in page.content()


def test_an_invalid_filter_is_marked_and_explained(page: Page, server: Running) -> None:
    page.keyboard.press("/")
    page.keyboard.type("topic=ftrack.update && data.a=1")
    message = page.locator("#live filter-box .message")
    expect(message).to_have_text("Cannot read '&'. Expected `and`, `or` or the end. Write `and`.")
    expect(page.locator("#live filter-box mark")).to_have_text("&")
    box = page.get_by_role("combobox", name="Filter")
    expect(box).to_have_attribute("aria-invalid", "true")
    box.fill("topic=studio.*")
    expect(message).to_have_text("Press Enter to apply.")
    page.keyboard.press("Enter")
    expect(message).to_have_text("")
    expect(page.locator("#live .state")).to_have_text("Live")
    publish(server, {"topic": "other"}, {"topic": "studio.a"})
    expect(rows(page)).to_have_count(1)
    expect(rows(page).first).to_contain_text("studio.a")


def test_keys_and_values_are_completed(page: Page, server: Running) -> None:
    publish(server, {"topic": "studio.a", "data": {"shot": "sh010", "odd": "two words"}})
    expect(rows(page)).to_have_count(1)
    box = page.get_by_role("combobox", name="Filter")
    box.press_sequentially("data.sh")
    page.get_by_role("option", name="data.shot=").click()
    expect(box).to_have_value("data.shot=")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(box).to_have_value("data.shot=sh010 ")
    box.press_sequentially("and data.odd=t")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    expect(box).to_have_value('data.shot=sh010 and data.odd="two words" ')
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(0)  # the filter is applied, once the server has checked it
    expect(page.locator("#live .state")).to_have_text("Live")
    publish(
        server, {"topic": "b", "data": {"shot": "sh010"}}, {"topic": "c", "data": {"shot": "sh010", "odd": "two words"}}
    )
    expect(rows(page)).to_have_count(1)
    expect(rows(page).first).to_contain_text("c")


def test_the_list_can_be_paused_resumed_and_cleared(page: Page, server: Running) -> None:
    page.keyboard.press("Space")
    for _ in range(12):
        publish(server, *[{"topic": "studio.a", "data": {"n": n}} for n in range(100)])
    expect(page.locator("#live .count")).to_have_text("paused, 1,000 of 1,000 buffered, 200 dropped")
    expect(rows(page)).to_have_count(0)
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#live .count")).to_have_text("1,000 shown")
    assert rows(page).count() < 60, "only visible rows have elements"
    page.get_by_role("button", name="Clear").click()
    expect(rows(page)).to_have_count(0)


def test_an_event_is_explained(page: Page, server: Running) -> None:
    publish(server, {"topic": "studio.done", "data": {"frames": 5}})
    details = open_event(page, "studio.done")
    details.get_by_role("button", name="Why (not)?").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The event matches.")
    dialog.get_by_role("combobox", name="Subscription", exact=True).fill("topic=studio.* and data.frames > 10")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("The event does not match.")
    expect(dialog.locator(".no.decisive", has_text="data.frames > 10").last).to_contain_text("found 5")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_the_subscription_of_a_client_is_explained(page: Page, server: Running) -> None:
    with client(server, "topic=studio.render.*"):
        publish(server, {"topic": "studio.done"})
        open_event(page, "studio.done").get_by_role("button", name="Why (not)?").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Subscription of").select_option(label=f"{USER}: topic=studio.render.*")
        expect(dialog).to_contain_text("The event does not match.")


def test_a_value_becomes_a_filter(page: Page, server: Running) -> None:
    publish(server, {"topic": "studio.done", "data": {"nested": [{"shot": 'a "b"'}], "frames": 5}})
    details = open_event(page, "studio.done")
    details.get_by_role("button", name="Use as filter: data.frames=5").click()
    box = page.get_by_role("combobox", name="Filter")
    expect(box).to_have_value("data.frames=5")
    details.get_by_role("button", name="Use as filter: data.nested.shot=").click()
    expect(box).to_have_value("data.frames=5 and data.nested.shot='a \"b\"'")
    expect(page.locator("#live filter-box .message")).to_have_text("")


def copied(page: Page, form: str) -> str:
    page.get_by_role("button", name=form).click()
    expect(page.locator("#toast")).to_have_text(f"Copied as {form}.")
    return page.evaluate("navigator.clipboard.readText()")


def test_an_event_is_copied_in_four_forms(page: Page, server: Running) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    data: dict[str, Any] = {"shot": 'it\'s "é" 😀', "done": True, "none": None, "list": [1.5, {}], "api_key": "geheim"}
    data["number"] = 12345678901234567890  # JavaScript rounds it
    publish(server, {"topic": "studio.done", "data": data})
    open_event(page, "studio.done")
    event = json.loads(copied(page, "JSON"))
    assert event["topic"] == "studio.done" and event["data"] == {**data, "api_key": "***"}
    subscription = copied(page, "subscription")
    assert (
        subscription == 'topic="studio.done" and data.done=true and data.none=null and data.number=12345678901234567890'
    )
    test = copied(page, "Python test")
    namespace: dict[str, Any] = {}
    exec(test, namespace)
    namespace["test_subscription_matches"]()
    command = copied(page, "curl")
    environment = {"FTRACK_API_USER": USER, "FTRACK_API_KEY": KEY, "PATH": "/usr/bin:/bin"}
    subprocess.run(["sh", "-c", f"{command} --fail --silent --noproxy '*'"], check=True, env=environment, timeout=60)
    expect(rows(page)).to_have_count(2)


def test_hostile_text_stays_text(page: Page, server: Running) -> None:
    hostile = '<script>document.title="pwned"</script><img src=x onerror=alert(1)>'
    bidi = "abc\u202edcba\u2066\u200b\x1b[31m"
    big = "x" * 900_000
    data: dict[str, Any] = {hostile: hostile, "bidi": bidi, "big": big, "__proto__": {"polluted": 1}, "deep": 0}
    for _ in range(50):
        data["deep"] = [data["deep"]]
    publish(server, {"topic": hostile, "data": {"text": hostile}}, {"topic": bidi, "data": {"text": bidi}})
    publish(server, {"topic": "studio.hostile", "data": data})
    expect(rows(page).nth(2).locator(".topic")).to_have_text(hostile)
    expect(rows(page).nth(1).locator(".topic")).to_have_text("abc\\u202edcba\\u2066\\u200b\\u001b[31m")
    details = open_event(page, "studio.hostile")
    expect(details).to_contain_text(hostile)
    expect(details).to_contain_text("900 kB")
    assert len(details.inner_text()) < 20_000
    assert "\u202e" not in page.locator("body").inner_text()
    assert page.locator("img[src=x], main script").count() == 0
    assert page.evaluate("({}).polluted") is None
    assert page.title() == "Live – rxhub"


def test_an_event_is_published_and_its_reply_appears(page: Page, server: Running) -> None:
    with client(server, "topic=studio.count"):
        page.get_by_role("link", name="Publish").click()
        page.get_by_role("combobox", name="Topic").fill("studio.count")
        area = page.get_by_role("textbox", name="Data")
        area.fill('{"frames": 1\n')
        expect(page.locator(".data-message")).to_contain_text("Line 2, column 1")
        area.fill('{"frames": 1}')
        expect(page.locator(".data-message")).to_have_text("")
        page.get_by_label("Wait for replies").fill("30")
        page.get_by_role("button", name="Publish").click()
        expect(page.locator(".replies")).to_contain_text("frames: 2")


def test_subscribers_are_listed_and_disconnected(page: Page, server: Running) -> None:
    with client(server, "topic=studio.render.* and data.frames > 3", "limited", "key"):
        page.get_by_role("link", name="Subscribers").click()
        row = page.get_by_role("row").filter(has_text="limited")
        # Hubs test the rest of a subscription themselves.
        expect(row).to_contain_text("topic=studio.render.*")
        page.get_by_role("textbox", name="Event").fill('{"topic": "studio.render.done", "data": {"frames": 5}}')
        page.get_by_role("button", name="Show receivers").click()
        expect(page.locator(".found")).to_contain_text("limited")
        number = row.get_by_role("button").get_attribute("data-client")
        row.get_by_role("button", name="Disconnect").click()
        page.get_by_role("dialog").get_by_role("button", name="Disconnect").click()
        expect(page.locator("#toast")).to_have_text("Disconnected.")
        expect(page.locator(f"[data-client='{number}']")).to_have_count(0)


def test_pages_of_one_browser_sign_out_together(page: Page, server: Running) -> None:
    other = page.context.new_page()
    other.goto(server.url)
    expect(other.locator("#live .state")).to_have_text("Live")
    other.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to rxhub")).to_be_visible()


def test_hidden_pages_leave_connections_to_others(page: Page, server: Running) -> None:
    def hide(is_hidden: bool) -> None:
        define = "(hidden) => Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })"
        page.evaluate(define, is_hidden)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange')) && 0")

    publish(server, {"topic": "studio.a"})
    expect(rows(page)).to_have_count(1)
    hide(True)
    # A browser has six connections to a host, and each page takes one for its stream.
    for _ in range(4):
        other = page.context.new_page()
        other.goto(server.url)
        expect(other.locator("#live .state")).to_have_text("Live")
    expect(page.locator("#live .state")).to_contain_text("many pages are open")
    publish(server, {"topic": "studio.b"})
    hide(False)
    expect(page.locator("#live .state")).to_have_text("Live")
    expect(rows(page).filter(has_text="are missing here")).to_have_count(1)


@pytest.mark.parametrize(
    ("user", "links"), [("limited", ["Live", "Subscribers", "Publish"]), ("reader", ["Live", "Subscribers"])]
)
def test_users_see_what_their_rules_allow(browser: Browser, server: Running, user: str, links: list[str]) -> None:
    with open_page(browser, server.url) as page:
        sign_in(page, user, "key")
        expect(page.locator("nav a:visible")).to_have_text(links)
        publish(server, {"topic": "secret.a"}, {"topic": "studio.b"})
        expect(rows(page)).to_have_count(1)
        page.get_by_role("link", name="Subscribers").click()
        expect(page.locator("#subscribers").get_by_role("row").nth(1)).to_contain_text(user)
        expect(page.get_by_role("button", name="Disconnect")).to_have_count(0)
        if user == "limited":
            page.get_by_role("link", name="Publish").click()
            page.get_by_role("combobox", name="Topic").fill("other")
            expect(page.locator(".topic-message")).to_have_text("Your rules allow these topics: studio.*.")


def test_an_event_source_receives_events(page: Page, server: Running) -> None:
    page.evaluate(
        """() => new Promise((resolve) => {
            window.received = [];
            const source = new EventSource("api/events?subscription=topic=studio.*");
            source.addEventListener("studio.a", ({ data }) => received.push(JSON.parse(data).data.n));
            source.onopen = resolve;
        })"""
    )
    publish(server, *[{"topic": "studio.a", "data": {"n": n}} for n in range(3)])
    page.wait_for_function("received.length === 3")
    assert page.evaluate("received") == [0, 1, 2]


def test_the_keyboard_is_enough(page: Page, server: Running) -> None:
    publish(server, {"topic": "studio.a"}, {"topic": "studio.b"})
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    details = page.get_by_role("complementary", name="Event")
    expect(details.get_by_role("heading", level=2)).to_have_text("studio.a")
    page.keyboard.press("ArrowUp")
    expect(details.get_by_role("heading", level=2)).to_have_text("studio.b")
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    page.keyboard.press("/")
    expect(page.get_by_role("combobox", name="Filter")).to_be_focused()


def test_names_of_secrets_are_those_of_the_server(page: Page) -> None:
    names = [
        "password",
        "newPassword2",
        "API-Key",
        "token_count",
        "has_password",
        "author",
        "csrfmiddlewaretoken",
        "pass",
    ]
    names += ["render_pass", "sessionId", "max_tokens", "tokens_used", "keys", "Пароль", "JWT", "userPwd", "x_secret_y"]
    found = page.evaluate(
        "async (names) => { const { isSecret } = await import('./console/redaction.js'); return names.map(isSecret); }",
        names,
    )
    assert dict(zip(names, found, strict=True)) == {name: secrets.names(name) for name in names}


def test_the_page_reconnects_after_the_server_was_killed(browser: Browser, tmp_path: Path) -> None:
    from tests.cli.terminal import COMMAND

    users = tmp_path / "users.toml"
    key = UsersFile(users).add("jane")

    @contextmanager
    def serving(port: str = "0") -> Iterator[tuple[subprocess.Popen[str], str]]:
        arguments = ["serve", "--users", str(users), "--store", str(tmp_path / "events"), "--port", port]
        with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield process, process.stdout.readline().partition("=")[2].strip()
            finally:
                process.send_signal(signal.SIGINT)

    def send(url: str, number: int) -> None:
        event = {"topic": "studio.a", "data": {"number": number}}
        assert httpx.post(f"{url}/api/events", json=event, auth=("jane", key), trust_env=False).status_code == 202

    with ExitStack() as stack:
        process, url = stack.enter_context(serving())
        page = stack.enter_context(open_page(browser, url))
        sign_in(page, "jane", key)
        send(url, 1)
        expect(rows(page)).to_have_count(1)
        process.kill()
        process.wait()
        expect(page.locator("#live .state")).to_contain_text("Connection lost")
        stack.enter_context(serving(url.rpartition(":")[2]))
        send(url, 2)
        expect(page.locator("#live .state")).to_have_text("Live")
        expect(rows(page)).to_contain_text(["number=2", "Reconnected", "number=1"])
        send(url, 3)
        expect(rows(page).first).to_contain_text("number=3")
