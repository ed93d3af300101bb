"""Create the pictures of the console: `python docs/images/make_console.py`, in a clone with the extra `test`.

The script starts `rxhub serve --demo` and opens the printed link in Chromium.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from playwright.sync_api import Browser, Page, expect

from tests.web.browser import chromium

FOLDER = Path(__file__).parent
SECONDS = 45
"""Until the sparklines have a shape and a dead letter exists."""


def main() -> None:
    with TemporaryDirectory() as folder, chromium() as browser:
        command = [sys.executable, "-m", "rxhub.cli", "serve", "--store", folder, "--demo", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                link = next(found for line in server.stdout if (found := re.search(r"http\S+#token=\S+", line)))
                draw(browser, link[0])
            finally:
                server.send_signal(signal.SIGINT)


def draw(browser: Browser, link: str) -> None:
    first = browser.new_context()
    page = first.new_page()
    page.goto(link)
    expect(page.locator("#live .state")).to_have_text("Live")
    cookies: Any = first.cookies()
    light, dark = open_page(browser, link, cookies, "light"), open_page(browser, link, cookies, "dark")
    page.wait_for_timeout(SECONDS * 1_000)
    light.locator("event-list .event:visible", has_text="studio.review.note").first.click()
    save(light, "event-light")
    filter_box = dark.get_by_role("combobox", name="Filter")
    filter_box.press_sequentially("topic=studio.* && data.frames > 1200")
    expect(dark.locator("#live mark")).to_be_visible()
    dark.keyboard.press("Escape")
    save(dark, "error-dark")
    filter_box.fill("topic=studio.*")
    dark.keyboard.press("Enter")
    dark.locator("event-list .event:visible", has_text="studio.review.note").first.click()
    dark.get_by_role("button", name="Why (not)?").click()
    asked = "topic=studio.review.* and not data.tags=wip and (data.progress > 0.99 or data.frames > 5000)"
    dark.get_by_role("combobox", name="Subscription", exact=True).fill(asked)
    dark.keyboard.press("Enter")
    expect(dark.locator("#explanation .verdict")).to_have_text("The event does not match.")
    save(dark, "explanation-dark")
    light.get_by_role("link", name="Stored").click()
    expect(light.locator(".dead > li").first).to_be_visible()
    light.set_viewport_size({"width": 1280, "height": 940})
    light.wait_for_timeout(4_000)  # a rate needs two measurements
    save(light, "stored-light")


def open_page(browser: Browser, link: str, cookies: Any, scheme: Literal["light", "dark"]) -> Page:
    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme=scheme)
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto(link.partition("#")[0])
    return page


def save(page: Page, name: str) -> None:
    page.wait_for_timeout(500)
    page.screenshot(path=FOLDER / f"console-{name}.png")


if __name__ == "__main__":
    main()
