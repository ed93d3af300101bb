"""A real Chromium, and what tests do in the console with it."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

__all__ = ["KEY", "TIMEOUT_MS", "USER", "chromium", "open_page", "sign_in"]

USER, KEY = "zoë", "a key"
TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)


@contextmanager
def chromium() -> Generator[Browser]:
    """Debian's browser."""
    path = shutil.which("chromium")
    assert path is not None, "apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(browser: Browser, url: str, width: int = 1440, **options: Any) -> Generator[Page]:
    """The console in a new profile. Fails if a script fails, or a request leaves the server."""
    height = 900 if width > 500 else 844
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda told: "Content Security Policy" in told.text and wrong.append(told.text))
    page.on("request", lambda request: request.url.startswith(("data:", url)) or wrong.append(request.url))
    page.goto(url)
    try:
        yield page
        assert not wrong, wrong
    finally:
        context.close()


def sign_in(page: Page, user: str = USER, key: str = KEY) -> None:
    """Sign in, and wait until events arrive."""
    page.get_by_label("User").fill(user)
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#live .state")).to_have_text("Live")
