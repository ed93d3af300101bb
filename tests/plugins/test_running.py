"""`hub.bootstrap()` starts plugins in order, each apart from the others; what they connect leaves with them."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event as Flag
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops

from rxhub import Event, EventHub
from rxhub.errors import CallbackInterrupted, HubClosed, PluginError, ScopeClosed
from rxhub.plugins import Status
from rxhub.rx.scope import current_scope
from rxhub.signals.signal import Signal
from tests.distributions import install
from tests.threads import LIMIT, at_once, elsewhere

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")


@pytest.fixture
def hub() -> Iterator[EventHub]:
    with EventHub() as hub:
        yield hub


def plugin(name: str, bootstrap: Callable[[EventHub], object] = lambda hub: None, **parts: Any) -> SimpleNamespace:
    return SimpleNamespace(name=name, bootstrap=bootstrap, **parts)


def statuses(report: Any) -> dict[str, str]:
    return {one.name: str(one.status) for one in report}


# What a plugin may be


def test_a_module_a_class_an_instance_and_a_function_are_plugins(hub: EventHub) -> None:
    ran: list[object] = []

    class Kind:
        def bootstrap(self, hub: EventHub) -> None:
            ran.append(self)

    def function(hub: EventHub) -> None:
        ran.append(hub)

    module = ModuleType("module")
    module.bootstrap = lambda hub: ran.append(module)  # type: ignore[attr-defined]
    instance = Kind()
    instance.name = "instance"  # type: ignore[attr-defined]
    report = hub.bootstrap([Kind, instance, module, function])
    assert statuses(report) == dict.fromkeys(["Kind", "instance", "module", "function"], "running")
    assert isinstance(ran[0], Kind) and ran[0] is not instance
    assert ran[1:] == [instance, module, hub]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (SimpleNamespace(name="x"), "is not a plugin: it has no bootstrap"),
        (int, "is not a plugin"),
        (7, "is not a plugin"),
        (None, "is not a plugin"),
        (plugin("x", 7), "is not a plugin"),
        (plugin("x", requires="colour"), "list of plugins' names, but 'colour' was found"),
        (plugin("x", requires=7), "list of plugins' names, but 7 was found"),
        (plugin("x", requires=[7]), "list of plugins' names"),
    ],
)
def test_what_is_none_fails_and_says_why(hub: EventHub, wrong: object, told: str) -> None:
    report = hub.bootstrap([plugin("good"), wrong])
    assert report["good"].running
    (failed,) = report.failed
    assert isinstance(failed.error, PluginError) and told in failed.reason


def test_a_coroutine_function_would_not_be_awaited(hub: EventHub) -> None:
    async def bootstrap(hub: EventHub) -> None: ...

    (failed,) = hub.bootstrap([bootstrap])
    assert "is a coroutine function" in failed.reason


# Installed ones


COLOUR = """
    from rxhub.signals.signal import Signal

    approved = Signal("approved")
    requires = ["ingest"]
    seen = []

    @approved.connect
    def at_import(**named):
        seen.append("at import")

    def ingest(hub): ...

    def bootstrap(hub):
        hub.subscribe("topic=shot", seen.append)
        approved.connect(lambda **named: seen.append("in bootstrap"))

    def teardown(hub):
        seen.append("teardown")
"""
INGEST = """
    class Ingest:
        def bootstrap(self, hub):
            hub.subscribe("topic=ingest", self.run)
        def run(self, event): ...
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_every_installed_plugin_is_started(site: Path, hub: EventHub) -> None:
    modules = {"site_colour": COLOUR, "site_ingest": INGEST}
    install(site, "studio", "1.2", {"colour": "site_colour", "ingest": "site_ingest:Ingest"}, modules)
    report = hub.bootstrap()
    assert [one.name for one in report] == ["ingest", "colour"]
    assert (report["colour"].distribution, report["colour"].version) == ("studio", "1.2")
    assert (report["colour"].source, report["colour"].requires) == ("site_colour", ("ingest",))
    assert [subscriber.owner.name for subscriber in hub.describe() if subscriber.owner] == ["ingest", "colour"]
    assert [subscriber.subscription for subscriber in hub.describe()] == ["topic=ingest", "topic=shot"]


def test_what_an_import_connects_stays_for_the_next_hub(site: Path) -> None:
    install(site, "studio", "1", {"colour": "site_colour", "ingest": "site_colour:ingest"}, {"site_colour": COLOUR})
    with EventHub() as first:
        first.bootstrap()
        module = sys.modules["site_colour"]
        assert [connection.owner.name for connection in module.approved.connections] == ["colour", "colour"]
    assert len(module.approved.connections) == 1
    with EventHub() as second:
        second.bootstrap()
        gc.collect()
        module.seen.clear()
        module.approved.send()
        assert module.seen == ["at import", "in bootstrap"]


def test_an_import_that_fails_leaves_nothing_connected(site: Path, hub: EventHub) -> None:
    hub.heard = heard = Signal("heard")  # type: ignore[attr-defined]
    sys.modules["site_shared"] = ModuleType("site_shared")
    sys.modules["site_shared"].heard = heard  # type: ignore[attr-defined]
    source = "from site_shared import heard\nheard.connect(lambda **named: None)\n"
    install(
        site,
        "studio",
        "1",
        {"a": "site_missing", "b": "site_raises", "c": "site_exits", "d": "site_good:run", "e": "site_good:nothing"},
        {"site_raises": source + "1 / 0", "site_exits": "import sys\nsys.exit(3)", "site_good": "def run(hub): ..."},
    )
    report = hub.bootstrap()
    assert statuses(report) == {"d": "running", "a": "failed", "b": "failed", "c": "failed", "e": "failed"}
    assert report["a"].reason == "ModuleNotFoundError: No module named 'site_missing'"
    assert report["b"].reason == "ZeroDivisionError: division by zero"
    assert isinstance(report["c"].error, CallbackInterrupted) and "SystemExit" in report["c"].reason
    assert isinstance(report["e"].error, AttributeError)
    assert heard.connections == ()


# Order and requirements


def test_missing_cyclic_and_failed_requirements_are_named(hub: EventHub) -> None:
    report = hub.bootstrap([
        plugin("good"),
        plugin("lonely", requires=["nobody", "nothing"]),
        plugin("a", requires=["b"]),
        plugin("b", requires=["c"]),
        plugin("c", requires=["a"]),
        plugin("behind", requires=["a"]),
        plugin("narcissus", requires=["narcissus"]),
        plugin("broken", lambda hub: 1 / 0),
        plugin("sorry", requires=["broken", "good", "off"]),
        plugin("off", enabled=False, requires=["nobody"]),
    ])  # fmt: skip
    assert [one.name for one in report.running] == ["good"]
    assert report["off"].status is Status.DISABLED
    assert {one.name: one.reason for one in report.failed} == {
        "lonely": "requires nobody, which is not installed; and nothing, which is not installed",
        "a": "requires itself: a → b → c → a",
        "b": "requires itself: b → c → a → b",
        "c": "requires itself: c → a → b → c",
        "behind": "requires plugins that require each other: a → b → c → a",
        "narcissus": "requires itself: narcissus → narcissus",
        "broken": "ZeroDivisionError: division by zero",
        "sorry": "requires broken, which failed; and off, which is disabled",
    }


@given(st.permutations("abcd"))
def test_they_start_in_order_of_requirement_and_are_torn_down_in_reverse(names: list[str]) -> None:
    requires = {"a": [], "b": ["a"], "c": ["a"], "d": ["c", "b"]}
    ran: list[str] = []
    with EventHub() as hub:
        report = hub.bootstrap([
            plugin(
                name,
                lambda hub, name=name: ran.append(name),
                requires=requires[name],
                teardown=lambda hub, name=name: ran.append(name.upper()),
            )
            for name in names
        ])  # fmt: skip
        assert [one.name for one in report] == ran and len(report.running) == 4
    for name, needed in requires.items():
        assert all(ran.index(required) < ran.index(name) for required in needed)
    assert "".join(ran[4:]) == "".join(reversed(ran[:4])).upper()


def test_one_may_require_what_runs_from_before(hub: EventHub) -> None:
    hub.bootstrap([plugin("base")])
    assert hub.bootstrap([plugin("more", requires=["base"])])["more"].running


@pytest.mark.parametrize("enabled", [False, 0, lambda hub: False, lambda hub: hub is None])
def test_a_disabled_one_is_not_started(hub: EventHub, enabled: Any) -> None:
    ran: list[object] = []
    report = hub.bootstrap([plugin("off", ran.append, enabled=enabled)])
    assert report["off"].status is Status.DISABLED and not ran and not report.failed
    assert hub.bootstrap([plugin("on", ran.append, enabled=lambda hub: True)])["on"].running and ran == [hub]


# Once


def test_it_is_idempotent(hub: EventHub) -> None:
    ran: list[str] = []
    both = [plugin("a", lambda hub: ran.append("a")), plugin("b", lambda hub: ran.append("b"))]
    first = hub.bootstrap(both)
    assert statuses(hub.bootstrap(both)) == statuses(hub.bootstrap([both[0], both[0]])) == statuses(first)
    assert ran == ["a", "b"]


def test_each_hub_has_its_own(hub: EventHub) -> None:
    class Kind:
        def bootstrap(self, hub: EventHub) -> None:
            hub.subscribe("", print)

    with EventHub() as other:
        other.bootstrap([Kind])
        hub.bootstrap([Kind])
        assert len(hub.describe()) == len(other.describe()) == 1
    assert len(hub.describe()) == 1


def test_one_that_failed_is_tried_again(hub: EventHub) -> None:
    trials: list[int] = []

    def bootstrap(hub: EventHub) -> None:
        trials.append(1)
        if len(trials) < 3:
            raise OSError("not yet")

    late = plugin("late", bootstrap)
    for status in ("failed", "failed", "running", "running"):
        assert statuses(hub.bootstrap([late])) == {"late": status}
    assert len(trials) == 3


def test_of_two_with_one_name_the_second_fails(hub: EventHub) -> None:
    report = hub.bootstrap([plugin("twin"), plugin("twin"), plugin("other", requires=["twin"])])
    assert [str(one.status) for one in report] == ["running", "running", "failed"]
    assert "has the name of another plugin" in report.failed[0].reason


def test_threads_that_start_the_same_start_it_once(hub: EventHub) -> None:
    ran: list[str] = []
    many = [plugin(str(number), lambda hub, number=number: ran.append(str(number))) for number in range(20)]
    at_once(*[lambda: hub.bootstrap(many)] * 4)
    report = hub.bootstrap(many)
    assert sorted(ran) == sorted(one.name for one in report.running) and len(ran) == 20


def test_a_plugin_may_start_others(hub: EventHub) -> None:
    inner = plugin("inner", lambda hub: hub.subscribe("topic=inner", print))

    def bootstrap(hub: EventHub) -> None:
        assert statuses(hub.bootstrap([suite, inner])) == {"suite": "waiting", "inner": "running"}
        hub.subscribe("topic=suite", print)

    suite = plugin("suite", bootstrap)
    assert statuses(hub.bootstrap([suite])) == {"inner": "running", "suite": "running"}
    assert [subscriber.owner.name for subscriber in hub.describe() if subscriber.owner] == ["inner", "suite"]


def test_ctrl_c_passes_and_forgets_those_that_had_no_turn(hub: EventHub) -> None:
    signal, interrupted = Signal(), [True]

    def bootstrap(hub: EventHub) -> None:
        signal.connect(lambda **named: None)
        if interrupted:
            interrupted.pop()
            raise KeyboardInterrupt

    three = [plugin("a"), plugin("b", bootstrap), plugin("c")]
    with pytest.raises(KeyboardInterrupt):
        hub.bootstrap(three)
    assert signal.connections == ()
    assert statuses(hub.bootstrap([])) == {"a": "running"}
    assert statuses(hub.bootstrap(three)) == {"a": "running", "b": "running", "c": "running"}


# Isolation


def test_one_that_fails_in_the_middle_leaves_nothing_behind(hub: EventHub, caplog: pytest.LogCaptureFixture) -> None:
    signal, ended = Signal(), []

    def bootstrap(hub: EventHub) -> None:
        hub.subscribe("topic=a", print)
        hub.on("topic=b").subscribe(print, on_completed=lambda: ended.append("completed"))
        signal.connect(lambda **named: None)
        signal.on().subscribe(print)
        hub.bridge(signal, topic="c")
        raise OSError("no licence")

    torn: list[str] = []
    broken = plugin("broken", bootstrap, teardown=lambda hub: torn.append("broken"))
    good = plugin("good", lambda hub: hub.subscribe("topic=good", print))
    with caplog.at_level(logging.ERROR, "rxhub"):
        report = hub.bootstrap([broken, good])
    assert statuses(report) == {"good": "running", "broken": "failed"}
    assert [subscriber.subscription for subscriber in hub.describe()] == ["topic=good"]
    assert signal.connections == () and report["broken"].connections == 0
    assert "Plugin broken could not be started: OSError: no licence" in caplog.text
    hub.drain()
    assert ended == ["completed"]
    hub.close()
    assert torn == []


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), asyncio.CancelledError(), RecursionError()])
def test_whatever_one_raises_the_others_start(hub: EventHub, error: BaseException) -> None:
    def bootstrap(_: EventHub) -> None:
        raise error

    report = hub.bootstrap([plugin("a", bootstrap), plugin("b", enabled=bootstrap), plugin("c")])
    assert statuses(report) == {"c": "running", "a": "failed", "b": "failed"}


def test_nobody_is_present_when_it_is_over(hub: EventHub) -> None:
    def bootstrap(hub: EventHub) -> None:
        owner = current_scope()
        assert owner is not None and owner.name == "a"
        raise ValueError

    hub.bootstrap([plugin("a", bootstrap)])
    assert current_scope() is None


# The end


def test_all_that_a_plugin_connected_leaves_with_it(hub: EventHub) -> None:
    signal, ran = Signal(), []

    def bootstrap(hub: EventHub) -> None:
        hub.subscribe("topic=a", lambda event: ran.append("hub") and None)
        signal.connect(lambda **named: ran.append("signal"))

    def teardown(hub: EventHub) -> None:
        signal.send()
        ran.append("teardown")

    hub.bootstrap([plugin("a", bootstrap, teardown=teardown)])
    gc.collect()
    hub.publish(Event("a"))
    hub.drain()
    signal.send()
    assert ran == ["hub", "signal"]
    report = hub.teardown()
    assert ran == ["hub", "signal", "signal", "teardown"]
    assert statuses(report) == {"a": "stopped"}
    hub.publish(Event("a"))
    hub.drain()
    assert signal.send() == [] and len(hub.describe()) == 0


def test_observers_of_the_hub_and_of_errors_leave_too(hub: EventHub) -> None:
    signal, seen = Signal(), []

    def bootstrap(hub: EventHub) -> None:
        hub.events.pipe(ops.map(lambda event: event.topic)).subscribe(seen.append)
        hub.deliveries.subscribe(seen.append)
        hub.errors.subscribe(seen.append)
        hub.state.subscribe(seen.append)
        signal.errors.subscribe(seen.append)
        signal.of("bob").subscribe(seen.append)
        hub.events.subscribe(seen.append).dispose()

    def make_all_of_them_emit() -> int:
        seen.clear()
        hub.subscribe("", lambda event: 1 / 0, {"id": "fails"})
        hub.publish(Event("a"))
        hub.drain()
        hub.unsubscribe("fails")
        signal.connect(fail := lambda **named: 1 / 0)
        signal.send_robust("bob")
        signal.disconnect(fail)
        hub.disconnect(unsubscribe=False)
        hub.connect()
        hub.drain()
        return len(seen)

    report = hub.bootstrap([plugin("a", bootstrap)])
    assert report["a"].connections == 6
    assert make_all_of_them_emit() > 6
    hub.teardown()
    assert make_all_of_them_emit() == 0


def test_a_bridge_that_left_with_its_plugin_can_be_made_anew(hub: EventHub) -> None:
    signal = Signal()
    bridging = plugin("a", lambda hub: hub.bridge(signal, topic="a"))
    for _ in range(3):
        assert hub.bootstrap([bridging])["a"].connections == 3
        hub.teardown()
        assert signal.connections == () and len(hub.describe()) == 0
    with hub.bridge(signal, topic="a"):
        assert hub.bootstrap([bridging])["a"].reason.startswith("NotUniqueError: This hub has a bridge")


def test_closing_the_hub_tears_all_down_when_no_event_is_under_way(hub: EventHub) -> None:
    ran: list[str] = []
    signal = Signal()

    def work(event: Event) -> None:
        ran.append("begin")
        begun.set()
        assert go.wait(LIMIT)
        ran.append("end")

    def bootstrap(hub: EventHub) -> None:
        hub.subscribe("topic=a", work)
        signal.connect(lambda **named: None)
        hub.on("topic=b").subscribe(on_completed=lambda: ran.append("completed"))

    begun, go = Flag(), Flag()
    hub.bootstrap([plugin("a", bootstrap, teardown=lambda hub: ran.append("teardown"))])
    hub.start()
    hub.publish(Event("a"))
    assert begun.wait(LIMIT)
    with elsewhere(hub.close) as closing:
        go.set()
        closing.join()
    hub.close()
    assert ran == ["begin", "end", "teardown", "completed"] and signal.connections == ()


def test_a_teardown_that_raises_is_told_and_disturbs_nobody(hub: EventHub, caplog: pytest.LogCaptureFixture) -> None:
    torn: list[str] = []
    signal = Signal()

    def raising(_: EventHub) -> None:
        signal.connect(lambda **named: None)
        raise SystemExit

    hub.bootstrap([
        plugin("a", teardown=lambda hub: torn.append("a")),
        plugin("b", lambda hub: signal.connect(print), teardown=raising),
        plugin("c", teardown=lambda hub: 1 / 0),
    ])  # fmt: skip
    with caplog.at_level(logging.ERROR, "rxhub"):
        report = hub.teardown()
    assert torn == ["a"] and signal.connections == ()
    assert "The teardown of plugin c failed: division by zero" in caplog.text
    assert [(one.name, one.reason) for one in report][2] == ("c", "ZeroDivisionError: division by zero")


def test_those_that_require_one_are_torn_down_before_it(hub: EventHub) -> None:
    torn: list[str] = []

    def made(name: str, *requires: str) -> Any:
        return plugin(name, requires=requires, teardown=lambda hub: torn.append(name))

    all_of_them = [made("a"), made("b", "a"), made("c", "b"), made("d")]
    hub.bootstrap(all_of_them)
    assert statuses(hub.teardown(["a"])) == {"d": "running", "a": "stopped", "b": "stopped", "c": "stopped"}
    assert torn == ["c", "b", "a"]
    with pytest.raises(PluginError, match=r"No plugin a is running.*Running: d"):
        hub.teardown(["a"])
    with pytest.raises(TypeError, match="in a list"):
        hub.teardown("d")
    assert len(hub.bootstrap(all_of_them).running) == 4


def test_a_hub_without_plugins_has_none_to_tear_down(hub: EventHub) -> None:
    assert str(hub.teardown()) == str(hub.bootstrap([])) == "no plugins"


def test_a_plugin_that_is_being_started_when_the_hub_is_closed_is_torn_down(hub: EventHub) -> None:
    torn, signal = [], Signal()

    def bootstrap(hub: EventHub) -> None:
        signal.connect(print)
        hub.close()

    hub.bootstrap([plugin("a", bootstrap, teardown=lambda hub: torn.append("a")), plugin("b", lambda h: h.on(""))])
    assert torn == ["a"] and signal.connections == ()
    with pytest.raises(HubClosed):
        hub.bootstrap([])


def test_what_a_plugin_does_after_its_end_is_refused(hub: EventHub) -> None:
    late: list[Callable[[], object]] = []

    def bootstrap(hub: EventHub) -> None:
        owner = current_scope()
        assert owner is not None

        def connect() -> None:
            with owner.registering():
                hub.subscribe("", print)

        late.append(connect)

    hub.bootstrap([plugin("a", bootstrap)])
    late[0]()
    assert len(hub.describe()) == 1
    hub.teardown()
    with pytest.raises(ScopeClosed, match="in the name of a"):
        late[0]()
    assert len(hub.describe()) == 0


# The report


def test_the_report_is_a_table(hub: EventHub) -> None:
    def connect(hub: EventHub) -> None:
        hub.subscribe("", print)

    report = hub.bootstrap([
        plugin("late", requires=["base"]),
        plugin("base", connect),
        plugin("broken", lambda hub: 1 / 0),
        plugin("off", enabled=False),
    ])  # fmt: skip
    assert str(report).splitlines() == [
        "4 plugins: 2 running, 1 disabled, 1 failed",
        "     plugin  status    from                   connections  requires  why",
        "  1  base    running   types:SimpleNamespace  1",
        "  2  late    running   types:SimpleNamespace  0            base",
        "     broken  failed    types:SimpleNamespace                         ZeroDivisionError: division by zero",
        "     off     disabled  types:SimpleNamespace",
    ]
    assert repr(report) == str(report) and len(report) == 4 and report[0].name == "base" and report[-1:]
    assert [one.name for one in report.failed] == ["broken"]
    with pytest.raises(KeyError, match="Plugin nobody does not exist. Known plugins: base, late, broken, off"):
        report["nobody"]
