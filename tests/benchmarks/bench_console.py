"""The console in Chromium: its size, its first paint, and its work and memory at 2,000 events/s.

The page of each first paint has no cache. The work of a frame is the time for which Chromium's main thread was busy,
per sixtieth of a second. The memory is the heap of the page after a collection. The page reaches it within a second,
because it keeps a bounded number of events.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import monotonic, sleep

import httpx
from playwright.sync_api import Browser, CDPSession, Page, expect

from rxhub.server import Limits, Running, running
from tests.benchmarks.measure import Row, bytes_within, within
from tests.web.browser import chromium, open_page, sign_in

__all__ = ["run"]

_PAINTS = 5
_EVENTS_PER_BATCH = 200
_BATCH_S = 0.1
_SECONDS = 20
_SIZE = """() => performance.getEntriesByType("resource").filter(({ name }) => name.includes("/console/"))
    .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)
    + performance.getEntriesByType("navigation")[0].encodedBodySize"""
_FIRST_PAINT = """() => new Promise((resolve) => {
    const found = (list) => list.getEntriesByName("first-contentful-paint").forEach((one) => resolve(one.startTime));
    new PerformanceObserver(found).observe({ type: "paint", buffered: true });
})"""


def run() -> list[Row]:
    with running(limits=Limits(events=1e9, events_at_once=1_000_000)) as server, chromium() as browser:
        sizes: list[int] = []
        paints: list[float] = []
        for _ in range(_PAINTS):
            with open_page(browser, server.url) as page:
                paints.append(page.evaluate(_FIRST_PAINT) * 1e6)
                expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
                sizes.append(page.evaluate(_SIZE))
        work, memory = _busy(browser, server)
    return [
        Row("all files of the page", max(sizes), unit="B", goal=bytes_within(150_000)),
        Row("first paint", median(paints), goal=within(1e9)),
        Row("work per frame at 2,000 events/s", work * 1e9, goal=within(16e6)),
        Row("heap at 2,000 events/s", memory, unit="B", goal=bytes_within(150_000_000)),
    ]


def _busy(browser: Browser, server: Running) -> tuple[float, float]:
    """Seconds of work per frame, and bytes of the heap, while events arrive."""
    with open_page(browser, server.url) as page:
        sign_in(page, server.api_user, server.api_key)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        with _publishing(server):
            expect(page.locator("#live .count")).to_have_text("1,000 shown")
            before, begin = _metrics(session), monotonic()
            page.wait_for_timeout(_SECONDS * 1_000)
            after, took = _metrics(session), monotonic() - begin
        _check_received(page)
        session.send("HeapProfiler.collectGarbage")
        return (after["TaskDuration"] - before["TaskDuration"]) / took / 60, _metrics(session)["JSHeapUsedSize"]


def _metrics(session: CDPSession) -> dict[str, float]:
    return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}


def _check_received(page: Page) -> None:
    """The figures would mean nothing if the page had been disconnected."""
    expect(page.locator("#live .state")).to_have_text("Live")
    expect(page.locator("event-list .notice")).to_have_count(0)


@contextmanager
def _publishing(server: Running) -> Iterator[None]:
    """Publish 2,000 events of 1 KB per second in a thread."""
    is_over = threading.Event()
    data = {"shot": "sh010", "frames": [1, 2, 3], "text": "x" * 900}
    batch = [
        {"topic": f"studio.topic-{number % 20}", "data": {**data, "number": number}}
        for number in range(_EVENTS_PER_BATCH)
    ]

    def publish() -> None:
        authorization = {"authorization": f"Bearer {server.api_user}:{server.api_key}"}
        with httpx.Client(headers=authorization, trust_env=False) as client:
            due = monotonic()
            while not is_over.is_set():
                client.post(f"{server.url}/api/events", json=batch).raise_for_status()
                due += _BATCH_S
                sleep(max(0.0, due - monotonic()))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
