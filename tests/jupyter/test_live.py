"""A live table follows a stream in a real kernel, and ends when it should."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import reactivex

from rxhub.jupyter import live
from tests.jupyter.kernel import Kernel, running_kernel

BEGIN = """
from rxhub import Event, EventHub, Subject
from rxhub.jupyter import live
import threading, time
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
    return one_kernel


def table(kernel: Kernel) -> str:
    assert len(kernel.shown) == 1
    return next(iter(kernel.shown.values()))


def test_it_shows_the_latest_items_and_counts_those_that_it_skipped(kernel: Kernel) -> None:
    kernel.run("stream = Subject(); table = live(stream, rate=20, rows=3)", "a")
    assert table(kernel) == "live  (0 received)\n  no items yet"
    kernel.run("for n in range(100): stream.on_next(n)", "b")
    kernel.until(lambda: "100 received" in table(kernel))
    assert table(kernel).startswith("live  (100 received, 97 skipped")
    assert [line.split()[-1] for line in table(kernel).splitlines()[2:]] == ["99", "98", "97"]
    kernel.run("table.stop()", "c")
    assert table(kernel).startswith("live  (stopped, 100 received, 97 skipped)")
    assert kernel.run("len(stream.observers), table.running") == "(0, False)"
    assert kernel.printed == []


def test_what_comes_in_another_thread_is_drawn_by_the_kernels(kernel: Kernel) -> None:
    kernel.run(
        "hub = EventHub('memory://'); handling = hub.start(); table = live(hub.on('topic=a'))\n"
        "drawn_in = set(); draw = table._handle.update\n"
        "def update(view): drawn_in.add(threading.current_thread()); draw(view)\n"
        "table._handle.update = update",
        "a",
    )
    kernel.run("for n in range(5): hub.publish(Event('a', data={'password': 'hunter2', 'n': n}))", "b")
    kernel.until(lambda: "5 received" in table(kernel))
    assert "'n': 4" in table(kernel)
    assert "hunter2" not in table(kernel)
    assert kernel.run("drawn_in == {threading.main_thread()}") == "True"
    kernel.run("hub.close()", "c")
    kernel.until(lambda: "completed" in table(kernel))
    assert kernel.printed == []


def test_it_shows_the_rate_while_it_is_live(kernel: Kernel) -> None:
    kernel.run("stream = Subject(); table = live(stream)", "a")
    kernel.run("for n in range(100): stream.on_next(n)", "b")
    kernel.until(lambda: "100 received" in table(kernel) and "per second" in table(kernel))
    kernel.run("table.stop()", "c")
    assert "per second" not in table(kernel)


def test_a_hub_is_followed_by_its_events(kernel: Kernel) -> None:
    kernel.run("hub = EventHub('memory://'); handling = hub.start(); table = live(hub)", "a")
    kernel.run("hub.publish(Event('a', data={'n': 1})); hub.publish(Event('b', data={'n': 2}))", "b")
    kernel.until(lambda: "2 received" in table(kernel))
    assert [line.split()[1] for line in table(kernel).splitlines()[2:]] == ["b", "a"]
    kernel.run("hub.close()", "c")
    kernel.until(lambda: "completed" in table(kernel))


def test_it_is_drawn_while_a_cell_handles_the_hub(kernel: Kernel) -> None:
    kernel.run("hub = EventHub('memory://studio'); table = live(hub.events, rate=50)", "a")
    kernel.run("other = EventHub('memory://studio'); handling = other.start()", "b")
    waiting = kernel.begin("threading.Timer(0.5, lambda: other.publish(Event('a'))).start(); hub.wait(60)", "c")
    kernel.until(lambda: "received" in table(kernel) and "0 received" not in table(kernel))  # hub.wait has not returned
    kernel.manager.interrupt_kernel()
    kernel.end(waiting)
    kernel.run("table.stop(); hub.close(); other.close()", "d")
    assert table(kernel).startswith(("live  (stopped, 1 received)", "live  (completed, 1 received)"))


def test_a_stream_that_fails_says_so(kernel: Kernel) -> None:
    kernel.run("stream = Subject(); table = live(stream); stream.on_error(ValueError('<gone>'))", "a")
    assert table(kernel).startswith("live  (failed: ValueError: <gone>, 0 received)")


def test_running_its_cell_again_ends_it_and_begins_another(kernel: Kernel) -> None:
    kernel.run("stream = Subject(); others = live(stream)", "x")
    kernel.shown.clear()
    for _ in range(3):
        kernel.run("table = live(stream)", "a")
    states = [text.split("(")[1].split(",")[0] for text in kernel.shown.values()]
    assert states == ["stopped", "stopped", "0 received)\n  no items yet"]
    assert kernel.run("len(stream.observers), others.running") == "(2, True)"
    kernel.run("table.stop(); others.stop()", "b")


def test_an_interrupt_of_a_running_cell_ends_it(kernel: Kernel) -> None:
    kernel.run("stream = Subject(); table = live(stream)", "a")
    sleeping = kernel.begin("display('sleeping', display_id='sleep'); time.sleep(60)", "b")
    kernel.until(lambda: "sleep" in kernel.shown)
    kernel.manager.interrupt_kernel()
    assert kernel.end(sleeping) == "KeyboardInterrupt"
    del kernel.shown["sleep"]
    assert table(kernel).startswith("live  (stopped, 0 received)")
    assert kernel.run("len(stream.observers)") == "0"


def test_an_interrupt_of_an_idle_kernel_ends_it(kernel: Kernel) -> None:
    kernel.run("stream = Subject(); table = live(stream)", "a")
    # Something of the stream is drawn by the idle kernel; so it is idle, and takes interrupts soon.
    kernel.run("threading.Timer(0.5, stream.on_next, [1]).start()", "b")
    kernel.until(lambda: "1 received" in table(kernel))
    kernel.manager.interrupt_kernel()
    kernel.until(lambda: "stopped" in table(kernel))
    assert kernel.run("len(stream.observers)") == "0"
    kernel.manager.interrupt_kernel()  # nobody lives: it is ignored as ever
    assert kernel.run("1 + 1") == "2"


class TestWithoutANotebook:
    def test_it_says_what_is_missing(self) -> None:
        with pytest.raises(RuntimeError, match="IPython is not running"):
            live(reactivex.never())

    def test_it_names_the_call_for_a_subscription(self) -> None:
        with pytest.raises(TypeError, match=r"use live\(hub\.on\(…\)\)"):
            live("topic=a")  # type: ignore[call-overload]

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [(([1, 2],), TypeError), ((reactivex.never(), 0), ValueError), ((reactivex.never(), 5, 0), ValueError)],
    )
    def test_it_refuses_what_it_cannot_show(self, arguments, error) -> None:
        with pytest.raises(error, match="A live table"):
            live(*arguments)
