"""`watch` follows a hub in a real kernel; what handlers print and log stands below the cell of the handler."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rxhub import Event, EventHub
from rxhub.jupyter import watch
from tests.jupyter.kernel import Kernel, running_kernel

BEGIN = """
from rxhub import Event, EventHub
from rxhub.jupyter import watch
import threading, time

def fail(event):
    print("printed", event.topic)
    raise ValueError("boom")
"""


@pytest.fixture(scope="module")
def one_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with running_kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        kernel.run(BEGIN)
        yield kernel


@pytest.fixture
def kernel(one_kernel: Kernel) -> Kernel:
    one_kernel.shown.clear()
    one_kernel.printed.clear()
    one_kernel.printed_by.clear()
    return one_kernel


def view(kernel: Kernel) -> str:
    assert len(kernel.shown) == 1
    return next(iter(kernel.shown.values()))


def test_it_follows_calls_subscribers_and_the_state_of_the_hub(kernel: Kernel) -> None:
    kernel.run("hub = EventHub(); handling = hub.start(); hub.on('topic=a')(lambda event: None)", "a")
    assert "<Watch of" in kernel.run("w = watch(hub, rate=20)\nw", "b")
    assert view(kernel).startswith("EventHub  (live, memory://, connected, handled, 1 subscriber, 0 events watched)")
    kernel.run("for n in range(5): hub.publish(Event('a'))", "c")
    kernel.until(lambda: "5 events watched" in view(kernel))
    kernel.run("hub.on('topic=b')(lambda event: None)", "d")
    kernel.until(lambda: "2 subscribers" in view(kernel))
    kernel.run("handling.dispose()", "e")
    kernel.until(lambda: "not handled" in view(kernel))
    assert kernel.run("w.running, w.tally.events", "f") == "(True, 5)"
    kernel.run("hub.close()", "g")
    kernel.until(lambda: "(closed," in view(kernel))
    assert kernel.run("w.running") == "False"
    assert kernel.printed == []


def test_it_stops_by_hand_by_a_block_and_when_its_cell_is_run_again(kernel: Kernel) -> None:
    kernel.run("hub = EventHub()", "a")
    kernel.run("first = watch(hub)", "b")
    kernel.run("second = watch(hub)", "b")
    assert kernel.run("first.status, second.status") == "('stopped', 'live')"
    kernel.run("second.stop(); second.stop()")
    kernel.run("with watch(hub) as third: hub.publish(Event('a'), synchronous=True)", "c")
    assert kernel.run("second.status, third.status, third.tally.events") == "('stopped', 'stopped', 1)"
    assert all(text.startswith("EventHub  (stopped,") for text in kernel.shown.values())
    assert kernel.run("len(hub.deliveries.observers)") == "0"
    kernel.run("hub.close()")


def test_a_fast_hub_is_drawn_at_a_bounded_rate(kernel: Kernel) -> None:
    kernel.run(
        "hub = EventHub(); handling = hub.start(); w = watch(hub, rate=5); drawn = []\n"
        "draw = w._handle.update\n"
        "w._handle.update = lambda view: (drawn.append(time.monotonic()), draw(view))",
        "a",
    )
    kernel.run("for n in range(2_000): hub.publish(Event('a'))", "b")
    kernel.until(lambda: "2000 events watched" in view(kernel))
    assert kernel.run("all(b - a > 0.15 for a, b in zip(drawn, drawn[1:]))") == "True"
    kernel.run("hub.close()")
    kernel.until(lambda: "(closed," in view(kernel))


def test_it_is_drawn_while_a_cell_handles_the_hub(kernel: Kernel) -> None:
    kernel.run("hub = EventHub('memory://watched'); w = watch(hub, rate=50)", "a")
    kernel.run("other = EventHub('memory://watched'); handling = other.start()", "b")
    code = "threading.Timer(0.5, lambda: other.publish(Event('a'))).start(); hub.wait(60)"
    waiting = kernel.begin(code, "c")
    kernel.until(lambda: "1 events watched" in view(kernel))
    kernel.manager.interrupt_kernel()
    kernel.end(waiting)
    kernel.until(lambda: "(stopped," in view(kernel))  # by the interrupt
    kernel.run("hub.close(); other.close()")


def test_what_a_handler_prints_and_raises_stands_below_its_own_cell(kernel: Kernel) -> None:
    kernel.run("hub = EventHub(); handling = hub.start()", "start")
    own = kernel.begin("hub.on('topic=a')(fail)", "handler")
    kernel.end(own)
    unrelated = kernel.begin("hub.publish(Event('a')); time.sleep(0.5); print('unrelated')", "unrelated")
    kernel.end(unrelated)
    kernel.until(lambda: "boom" in kernel.printed_by.get(own, "") and unrelated in kernel.printed_by)
    assert kernel.printed_by[unrelated] == "unrelated\n"
    assert "printed a" in kernel.printed_by[own] and "Error calling" in kernel.printed_by[own]
    assert set(kernel.printed_by) == {own, unrelated}
    kernel.run("hub.close()")


def test_so_do_handlers_on_a_scheduler_coroutines_and_pipelines(kernel: Kernel) -> None:
    kernel.run("hub = EventHub(); handling = hub.start()", "start")
    cells = {
        "scheduled": "hub.subscribe('topic=a', fail, scheduler=hub.scheduler)",
        "coroutine": "async def afail(event): fail(event)\nhub.on('topic=a')(afail)",
        "pipeline": "from reactivex import operators as ops\nhub.on('topic=a').pipe(ops.map(fail)).subscribe()",
        "observer": "hub.on('topic=a').subscribe(fail)",
    }
    own = {name: kernel.begin(code, name) for name, code in cells.items()}
    for request in own.values():
        kernel.end(request)
    unrelated = kernel.begin("hub.publish(Event('a')); time.sleep(0.5); print('unrelated')", "unrelated")
    kernel.end(unrelated)
    kernel.until(lambda: unrelated in kernel.printed_by)
    for request in own.values():
        kernel.until(lambda request=request: "boom" in kernel.printed_by.get(request, ""))
    assert kernel.printed_by[unrelated] == "unrelated\n"
    kernel.run("hub.close()")


def test_outside_of_a_notebook_calls_are_counted_and_it_says_that_nothing_is_shown() -> None:
    with EventHub() as hub, watch(hub) as watching:
        hub.publish(Event("a"), synchronous=True)
        assert watching.tally.events == 1
        assert "not shown outside of a notebook" in repr(watching)
    assert not watching.running


@pytest.mark.parametrize(("given", "rate", "error"), [("hub", 2, TypeError), (None, 0, ValueError)])
def test_what_cannot_be_watched_is_told(given: str | None, rate: float, error: type[Exception]) -> None:
    with EventHub() as hub, pytest.raises(error):
        watch(given or hub, rate)  # type: ignore[arg-type]
