import asyncio
import copy
import gc
import inspect
import logging
import os
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypedDict
from weakref import ref

import pytest
import reactivex as rx
from reactivex import operators as ops

from rxhub import Emission, Signal, Subject, receiver, resume, where
from rxhub.errors import AsyncReceiverError, CallbackInterrupted, ExpressionError
from rxhub.rx.scope import Scope
from rxhub.signals.signal import signals


class Shot:
    pass


class Asset:
    pass


class Log(list):
    """Receivers that note their calls."""

    def named(self, name, result=None, **facts):
        def note(signal, sender, **named):
            self.append(name)
            return result

        note.__qualname__ = name
        return note


@pytest.fixture
def log():
    return Log()


class TestConnecting:
    def test_receivers_get_signal_sender_and_kwargs(self):
        signal, seen = Signal(), []

        def note(**named):
            seen.append(named)

        signal.connect(note)
        signal.send(Shot, status="Approved")
        assert seen == [{"signal": signal, "sender": Shot, "status": "Approved"}]

    def test_a_sender_may_be_given_by_name_and_kwargs_may_be_called_self(self):
        signal, seen = Signal(), []
        signal.connect(note := lambda **named: seen.append((named["sender"], named["self"])))
        signal.send(sender=Shot, self=1)
        assert seen == [(Shot, 1)]
        assert note

    def test_only_receivers_of_the_sender_and_of_everybody_are_called(self, log):
        signal = Signal()
        for name, sender in (("shot", Shot), ("any", None), ("asset", Asset)):
            signal.connect(log.named(name), sender, weak=False)
        assert [len(signal.send(sender)) for sender in (Shot, Asset, None, object())] == [2, 2, 1, 1]
        assert log == ["shot", "any", "any", "asset", "any", "any"]

    def test_answers_are_pairs_of_receiver_and_result(self):
        signal = Signal()
        one = signal.connect(lambda **_: 1, weak=False)
        two = signal.connect(lambda **_: None, weak=False)
        assert signal.send() == [(one, 1), (two, None)]

    def test_equal_texts_bytes_and_integers_are_one_sender_and_other_equals_are_not(self, log):
        signal = Signal()
        for sender in ("render farm", b"farm", 7000):
            signal.connect(log.named(repr(sender)), sender, weak=False)
        kept = [1]
        signal.connect(log.named("list"), kept, weak=False)
        for sender in (str(b"render farm", "ascii"), bytes([*b"farm"]), int("7000"), [1], 7000.0):
            signal.send(sender)
        assert log == ["'render farm'", "b'farm'", "7000"]
        signal.send(kept)
        assert log[3:] == ["list"]

    def test_who_asked_for_everybody_is_called_too_when_senders_are_texts(self, log):
        signal = Signal()
        signal.connect(log.named("any"), weak=False)
        text = log.named("text")
        signal.connect(text, "farm")
        signal.send(str(b"farm", "ascii"))
        signal.send(Shot)
        signal.disconnect(text, "farm")
        signal.send("farm")
        assert log == ["any", "text", "any", "any"]

    def test_connecting_twice_changes_nothing(self, log):
        signal = Signal()
        note = log.named("note")
        for _ in range(2):
            assert signal.connect(note) is note
            signal.connect(note, Shot)
        signal.send(Shot)
        assert log == ["note", "note"]

    def test_a_dispatch_uid_tells_receivers_apart_in_their_place(self, log):
        signal = Signal()
        signal.connect(first := log.named("first"), dispatch_uid="once")
        signal.connect(second := log.named("second"), dispatch_uid="once")
        signal.connect(first, dispatch_uid=("again", 1))
        signal.send()
        assert log == ["first", "first"]
        assert [c.dispatch_uid for c in signal.connections] == ["once", ("again", 1)]
        assert not signal.disconnect(first)
        assert signal.disconnect(dispatch_uid="once")
        assert len(signal.connections) == 1
        assert second

    def test_disconnecting_tells_whether_there_was_something(self, log):
        signal = Signal()
        note = log.named("note")
        signal.connect(note, Shot)
        assert not signal.disconnect(note)
        assert not signal.disconnect()
        assert signal.disconnect(note, Shot)
        assert not signal.disconnect(note, Shot)
        assert signal.send(Shot) == []

    @pytest.mark.parametrize("bad", [None, 3, "name"])
    def test_what_cannot_be_called_is_refused(self, bad):
        with pytest.raises(TypeError, match="cannot be called"):
            Signal().connect(bad)

    def test_a_receiver_that_would_fail_at_every_send_is_refused_at_once(self):
        with pytest.raises(TypeError, match=r"takes no signal=.*\*\*kwargs"):
            Signal().connect(lambda sender, instance: None)

    @pytest.mark.parametrize("priority", ["high", None, float("nan")])
    def test_a_priority_that_is_no_number_is_refused(self, priority):
        with pytest.raises(TypeError, match="A priority is a number"):
            Signal().connect(print, priority=priority)

    def test_a_where_that_does_not_parse_is_refused(self):
        signal = Signal()
        with pytest.raises(ExpressionError):
            signal.connect(print, where="method=")
        assert not signal.connections

    @pytest.mark.parametrize("where", [None, "a=1"])
    def test_the_name_signal_is_reserved(self, where):
        signal = Signal("s")
        signal.connect(print, where=where)
        for send in (signal.send, signal.send_robust):
            with pytest.raises(TypeError, match="passes itself as signal="):
                send(Shot, signal=1)


class TestOrder:
    def test_lower_priority_first_then_order_of_connecting_whatever_the_sender(self, log):
        signal = Signal()
        for name, sender, priority in (
            ("d", None, 100),
            ("e", Shot, 100),
            ("b", Shot, 20),
            ("f", None, 100),
            ("a", None, -1),
            ("c", Shot, 20.5),
        ):
            signal.connect(log.named(name), sender, weak=False, priority=priority)
        signal.send(Shot)
        assert log == ["a", "b", "c", "d", "e", "f"]

    def test_who_leaves_during_an_emission_is_not_called_any_more_and_who_comes_is_not_yet(self, log):
        signal = Signal()
        leaving, coming = log.named("leaving"), log.named("coming")

        def change(**_):
            signal.disconnect(leaving)
            signal.connect(coming)

        signal.connect(change)
        signal.connect(leaving)
        signal.send()
        assert log == []
        signal.send()
        assert log == ["coming"]

    def test_an_emission_that_is_asked_for_can_be_stopped(self, log):
        signal = Signal()

        def guard(emission, **_):
            log.append(dict(emission))
            if emission["status"] == "Approved":
                emission.stop()

        signal.connect(log.named("before"), weak=False, priority=1)
        signal.connect(guard, priority=2)
        signal.connect(log.named("after"), weak=False)
        assert [name.__name__ for name, _ in signal.send(Shot, status="Approved")] == ["note", "guard"]
        signal.send(Shot, status="Waiting")
        assert log == ["before", {"status": "Approved"}, "before", {"status": "Waiting"}, "after"]

    def test_a_kwarg_that_is_called_emission_takes_the_place_of_ours(self):
        signal, seen = Signal(), []
        signal.connect(lambda emission, **_: seen.append(emission), weak=False)
        signal.send(emission=3)
        assert seen == [3]


class TestWhere:
    @pytest.mark.parametrize(
        ("subscription", "matches"),
        [
            ("method=removeItem and sender=Shot", True),
            ("method=removeItem and sender=Asset", False),
            ("method=create* or signal=deleted", True),
            ("not method=*", False),
            ("payload.size > 3", True),
            ("", True),
        ],
    )
    def test_it_chooses_by_kwargs_and_the_names_of_sender_and_signal(self, subscription, matches, log):
        signal = Signal("deleted")
        signal.connect(log.named("note"), weak=False, where=subscription)
        responses = signal.send(Shot, method="removeItem", payload={"size": 4})
        assert (log == ["note"], len(responses)) == (matches, int(matches))

    @pytest.mark.parametrize(
        ("sender", "name"), [(Shot(), "Shot"), ("farm", "farm"), (os, "os"), (Shot.__init__, "object.__init__")]
    )
    def test_senders_go_by_their_names(self, sender, name, log):
        signal = Signal()
        signal.connect(log.named("note"), weak=False, where=f'sender="{name}"')
        signal.send(sender)
        assert log == ["note"]

    def test_nobody_is_a_missing_sender(self, log):
        signal = Signal()
        signal.connect(log.named("note"), weak=False, where="sender=null")
        signal.send()
        assert log == ["note"]

    def test_the_operator_reads_the_same(self):
        signal, seen = Signal("s"), []
        signal.pipe(where("sender=Shot and signal=s and n=2")).subscribe(lambda e: seen.append(e["n"]))
        for n in (1, 2):
            signal.send(Shot, n=n)
            signal.send(Asset, n=n)
        assert seen == [2]


class TestLife:
    def test_functions_methods_and_callable_objects_are_held_weakly(self, log):
        class Plugin:
            def method(self, **_):
                log.append("method")

            def __call__(self, **_):
                log.append("call")

        signal, plugin = Signal(), Plugin()
        function = log.named("function")
        for r in (function, plugin.method, plugin):
            signal.connect(r)
        signal.send()
        del function, plugin, r
        gc.collect()
        assert signal.send() == []
        assert log == ["function", "method", "call"]
        assert signal.connections == ()
        assert not signal.has_listeners()

    def test_a_strong_receiver_stays(self, log):
        signal = Signal()
        signal.connect(log.named("function"), weak=False)
        gc.collect()
        signal.send()
        assert log == ["function"]

    def test_what_takes_no_weak_reference_or_dies_at_once_by_its_nature_is_held(self):
        class Slotted:
            __slots__ = ("seen",)

            def method(self, **_):
                self.seen = True

        signal, slotted, builtin = Signal(), Slotted(), {}
        signal.connect(slotted.method)
        signal.connect(builtin.update)
        signal.send(Shot, n=1)
        assert slotted.seen
        assert builtin == {"n": 1, "sender": Shot, "signal": signal}
        assert [c.weak for c in signal.connections] == [False, False]
        assert signal.disconnect(slotted.method)
        assert signal.disconnect(builtin.update)

    def test_partials_are_called_and_held_weakly(self, log):
        signal = Signal()
        signal.connect(held := partial(log.named("partial"), extra=1))
        signal.send()
        assert log == ["partial"]
        del held
        gc.collect()
        assert not signal.has_listeners()

    def test_senders_are_not_kept_alive_and_their_receivers_leave_with_them(self, log):
        signal, sender = Signal(), Shot()
        signal.connect(log.named("note"), sender, weak=False)
        signal.send(sender)
        assert signal.connections[0].sender is sender
        del sender
        gc.collect()
        assert signal.connections == ()

    def test_a_new_object_at_the_address_of_a_dead_sender_gets_nothing_of_it(self, log):
        signal = Signal()
        reused = 0
        for _ in range(200):
            sender = Shot()
            address = id(sender)
            signal.connect(log.named("false"), sender, weak=False)
            del sender
            sender = Shot()
            reused += id(sender) == address
            assert signal.send(sender) == []
        assert reused, "no address was used again, so this showed nothing"
        assert log == []

    def test_a_receiver_that_dies_in_the_middle_is_not_called(self, log):
        signal = Signal()
        victims = [log.named("victim")]

        def kill(**_):
            victims.clear()
            gc.collect()

        signal.connect(kill)
        signal.connect(victims[0])
        assert len(signal.send()) == 1
        assert log == []

    def test_a_signal_lets_go_of_everything_with_itself(self):
        signal = Signal("short-lived")
        signal.connect(lambda **_: None, weak=False)
        signal.subscribe(lambda _: None)
        assert signal in signals()
        del signal
        gc.collect()
        assert "short-lived" not in {each.name for each in signals()}

    def test_what_is_connected_by_an_owner_is_kept_and_leaves_with_it(self, log):
        signal, owner = Signal(), Scope("plugin")
        with owner.registering():
            signal.connect(log.named("owned"))
            signal.subscribe(lambda _: log.append("pipeline"))
            signal.connect(gone := log.named("dead"))
        signal.disconnect(gone)
        gc.collect()
        signal.send()
        assert log == ["owned", "pipeline"]
        assert [c.owner for c in signal.connections] == [owner, owner]
        assert len(owner) == 2
        owner.close()
        assert signal.connections == ()

    def test_names_are_given_or_made_up_or_taken_from_a_class(self):
        class Studio:
            approved = Signal()
            kept = Signal("own name")

        assert Studio.approved.name.endswith("Studio.approved")
        assert Studio.kept.name == "own name"
        assert Signal().name != Signal().name
        assert repr(Signal("s")) == "<Signal s, 0 connections>"

    def test_tells_of_a_receiver_that_nobody_held_once_none_is_left(self) -> None:
        signal = Signal("s")
        signal.connect(lambda **kwargs: None)
        assert repr(signal) == "<Signal s, 0 connections; 1 died, held weakly: weak=False keeps one alive>"
        signal.connect(lambda **kwargs: None, weak=False)
        assert repr(signal) == "<Signal s, 1 connection>"

    def test_a_child_process_can_connect_and_send_whoever_held_the_lock(self, log):
        signal = Signal()
        signal.connect(log.named("note"), weak=False)
        with signal._connections.lock:
            child = os.fork()
            if child == 0:
                signal.connect(log.named("child"), weak=False)
                os._exit(len(signal.send()))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


class TestErrors:
    def test_the_first_error_reaches_the_sender_and_stops_the_later_receivers(self, log):
        signal = Signal()
        signal.connect(lambda **_: 1 / 0, weak=False)
        signal.connect(log.named("later"), weak=False)
        with pytest.raises(ZeroDivisionError):
            signal.send()
        assert log == []

    def test_a_robust_send_runs_all_logs_and_collects(self, log, caplog):
        signal, reported = Signal("s"), []
        signal.errors.subscribe(reported.append)
        bad = signal.connect(lambda **_: 1 / 0, weak=False)
        good = signal.connect(log.named("later", 5), weak=False)
        (failed, error), answer = signal.send_robust(Shot)
        assert (failed, answer) == (bad, (good, 5))
        assert isinstance(error, ZeroDivisionError)
        assert reported == [error]
        assert "of <Signal s, 2 connections> raised" in caplog.text

    def test_a_group_runs_all_then_raises_one(self, log):
        signal = Signal(on_receiver_error="group")
        for failing in (ValueError("a"), KeyError("b")):

            def fail(failing=failing, **_):
                raise failing

            signal.connect(fail, weak=False)
        signal.connect(log.named("later"), weak=False)
        with pytest.raises(ExceptionGroup, match="2 receivers of") as raised:
            signal.send()
        assert [type(e) for e in raised.value.exceptions] == [ValueError, KeyError]
        assert log == ["later"]
        with pytest.raises(ExceptionGroup):
            asyncio.run(signal.asend())
        assert [type(answer) for _, answer in signal.send_robust()] == [ValueError, KeyError, type(None)]

    def test_no_other_policy_is_known(self):
        with pytest.raises(ValueError, match="on_receiver_error=\"ignore\" is not valid|'ignore' is not valid"):
            Signal(on_receiver_error="ignore")

    @pytest.mark.parametrize("policy", ["raise", "group"])
    def test_an_interrupt_always_passes(self, policy):
        signal = Signal(on_receiver_error=policy)

        def interrupt(**_):
            raise KeyboardInterrupt

        signal.connect(interrupt)
        for send in (signal.send, signal.send_robust):
            with pytest.raises(KeyboardInterrupt):
                send()


class TestCoroutines:
    def test_they_are_awaited_in_their_place(self, log):
        signal = Signal()

        async def slow(**_):
            await asyncio.sleep(0.001)
            log.append("slow")
            return 2

        signal.connect(log.named("first", 1), weak=False)
        signal.connect(slow)
        signal.connect(log.named("last", 3), weak=False)
        for responses in (asyncio.run(signal.asend()), asyncio.run(signal.asend_robust()), signal.send()):
            assert [value for _, value in responses] == [1, 2, 3]
        assert log == ["first", "slow", "last"] * 3

    def test_coroutine_methods_objects_and_partials_too(self):
        class Plugin:
            async def method(self, **_):
                return "method"

            async def __call__(self, **_):
                return "call"

        signal, plugin = Signal(), Plugin()
        for r in (plugin.method, plugin, p := partial(plugin.method)):
            signal.connect(r)
        assert [value for _, value in signal.send()] == ["method", "call", "method"]
        assert p

    def test_errors_of_coroutines_are_as_those_of_functions(self):
        signal = Signal()

        async def fail(**_):
            raise ValueError("async")

        signal.connect(fail)
        with pytest.raises(ValueError, match="async"):
            asyncio.run(signal.asend())
        with pytest.raises(ValueError, match="async"):
            signal.send()
        [(_, error)] = asyncio.run(signal.asend_robust())
        assert isinstance(error, ValueError)

    def test_inside_a_loop_send_says_what_to_do_instead(self):
        signal = Signal()

        async def receive(**_): ...

        signal.connect(receive)

        async def main():
            with pytest.raises(AsyncReceiverError, match="use `await signal.asend"):
                signal.send()
            return await signal.asend()

        assert asyncio.run(main()) == [(receive, None)]

    def test_a_cancelled_sending_calls_nobody_further(self, log):
        signal = Signal()

        async def stuck(**_):
            await asyncio.Event().wait()

        signal.connect(stuck)
        signal.connect(log.named("later"), weak=False)

        async def main():
            async with asyncio.timeout(0.01):
                await signal.asend()

        with pytest.raises(TimeoutError):
            asyncio.run(main())
        assert log == []


class TestContexts:
    def test_connected_to_connects_for_a_while_strongly(self, log):
        signal = Signal()
        with signal.connected_to(log.named("note"), Shot, where="n>1", priority=3):
            gc.collect()
            signal.send(Shot, n=2)
            signal.send(Asset, n=2)
        signal.send(Shot, n=2)
        assert log == ["note"]

    def test_connected_to_leaves_what_was_connected_before(self, log):
        signal = Signal()
        signal.connect(note := log.named("note"))
        with signal.connected_to(note):
            pass
        assert signal.disconnect(note)

    def test_a_muted_signal_calls_nobody_and_unmutes_where_the_outermost_ends(self, log):
        signal = Signal()
        signal.connect(log.named("note"), weak=False)
        signal.subscribe(lambda _: log.append("pipeline"))
        with signal.muted():
            with signal.muted():
                assert signal.send() == []
            assert signal.send_robust() == []
            assert asyncio.run(signal.asend()) == []
            assert signal.has_listeners()
        signal.send()
        assert log == ["note", "pipeline"]

    def test_muting_leaves_the_policy_alone(self):
        signal = Signal(on_receiver_error="group")
        with signal.muted():
            pass
        signal.connect(lambda **_: 1 / 0, weak=False)
        with pytest.raises(ExceptionGroup):
            signal.send()

    def test_connecting_and_disconnecting_are_signalled(self, log):
        signal, seen = Signal("s"), []
        note = log.named("note")
        told = {
            "connected": lambda sender, connection, **_: seen.append(("+", sender, connection.receiver)),
            "disconnected": lambda sender, connection, **_: seen.append(("-", sender, connection.receiver)),
        }
        for name, tell in told.items():
            getattr(signal, name).connect(tell)
        signal.connect(note)
        signal.connect(note)
        signal.disconnect(note)
        signal.disconnect(note)
        with signal.connected_to(note):
            pass
        assert seen == [(sign, signal, note) for sign in "+-+-"]
        assert signal.connected.name == "s.connected"


class TestPipelines:
    def test_a_signal_is_a_subject_of_emissions(self):
        signal, seen = Signal("s"), []
        assert isinstance(signal, Subject)
        assert isinstance(signal, rx.Observable)
        signal.subscribe(seen.append)
        signal.send(Shot, n=1)
        [emission] = seen
        assert isinstance(emission, Emission)
        assert (emission.signal, emission.sender, dict(emission)) == (signal, Shot, {"n": 1})

    def test_pipelines_stand_in_the_order_and_can_stop(self, log):
        signal = Signal()
        signal.connect(log.named("second"), weak=False)
        signal.on(priority=1).pipe(ops.do_action(lambda _: log.append("first"))).subscribe(lambda _: None)
        signal.on("n=2", priority=50).subscribe(Emission.stop)
        signal.subscribe(lambda _: log.append("third"))
        signal.send(n=1)
        signal.send(n=2)
        assert log == ["first", "second", "third", "first"]

    def test_on_filters_by_subscription_and_sender(self):
        signal, seen = Signal(), []
        signal.on("n>1", sender=Shot).subscribe(lambda e: seen.append(e["n"]))
        for n in (1, 2):
            signal.send(Shot, n=n)
            signal.send(Asset, n=n)
        assert seen == [2]
        with pytest.raises(ExpressionError):
            signal.on("n>")

    def test_of_carries_its_sender_and_sends_in_its_name(self, log):
        signal, seen = Signal("s"), []
        shots = signal.of(Shot)
        assert isinstance(shots, Subject)
        assert shots.sender is Shot
        assert repr(shots) == "<s of Shot>"
        shots.subscribe(lambda e: seen.append(e["n"]))
        signal.connect(log.named("shot"), Shot, weak=False)
        shots.on_next({"n": 1})
        signal.send(Shot, n=2)
        signal.send(Asset, n=3)
        rx.of({"n": 4}, {"n": 5}).subscribe(shots)
        assert seen == [1, 2, 4, 5]
        assert log == ["shot"] * 4

    def test_emissions_of_one_signal_flow_into_another(self, log):
        one, two, seen = Signal(), Signal(), []
        one.pipe(ops.filter(lambda e: e["n"] > 1)).subscribe(two)
        two.connect(lambda sender, n, **_: seen.append((sender, n)), weak=False)
        for n in (1, 2):
            one.send(Shot, n=n)
        assert seen == [(Shot, 2)]

    @pytest.mark.parametrize("bad", [None, 3, "text", [("n", 1)], {1: 2}])
    def test_only_mappings_with_names_can_be_emitted(self, bad):
        signal = Signal()
        for relay in (signal, signal.of(Shot)):
            with pytest.raises(TypeError, match="takes emissions or mappings"):
                relay.on_next(bad)

    def test_no_source_can_end_a_signal(self, log, caplog):
        signal, failed = Signal(), []
        signal.errors.subscribe(failed.append)
        signal.connect(log.named("note"), weak=False)
        signal.subscribe(on_completed=lambda: log.append("completed"), on_error=lambda _: log.append("error"))
        rx.of({"n": 1}).subscribe(signal)
        rx.throw(ValueError("source")).subscribe(signal)
        rx.throw(ValueError("source")).subscribe(signal.of(Shot))
        signal.send()
        assert log == ["note", "note"]
        assert [str(e) for e in failed] == ["source", "source"]
        assert "Its receivers stay connected" in caplog.text

    def test_what_pipelines_raise_is_logged_and_reported_and_disturbs_nobody(self, log, caplog):
        signal, failed = Signal(), []
        signal.errors.subscribe(failed.append)

        def fail(_):
            raise ValueError("observer")

        signal.subscribe(fail)
        signal.connect(log.named("later"), weak=False)
        signal.send()
        assert log == ["later"]
        assert [str(e) for e in failed] == ["observer"]

    def test_resume_keeps_a_pipeline_going(self, caplog):
        signal, seen = Signal(), []
        signal.pipe(resume(ops.map(lambda e: 1 / e["n"]))).subscribe(seen.append)
        for n in (1, 0, 2):
            signal.send(n=n)
        assert seen == [1, 0.5]

    def test_observers_get_what_is_sent_inside_an_emission_behind_it(self):
        signal, seen = Signal(), []

        def again(emission):
            seen.append(("A", emission["n"]))
            if emission["n"] < 2:
                signal.send(n=emission["n"] + 1)

        signal.subscribe(again)
        signal.subscribe(lambda e: seen.append(("B", e["n"])))
        signal.send(n=0)
        assert seen == [("A", 0), ("B", 0), ("A", 1), ("B", 1), ("A", 2), ("B", 2)]

    def test_a_send_in_a_receiver_has_its_results_at_once_and_observers_keep_the_order(self):
        signal, seen = Signal(), []

        def again(n, **_):
            seen.append(("receiver", n))
            return n or signal.send(n=1)

        signal.connect(again)
        signal.subscribe(lambda e: seen.append(("observer", e["n"])))
        assert signal.send(n=0) == [(again, [(again, 1)])]
        assert seen == [("receiver", 0), ("receiver", 1), ("observer", 0), ("observer", 1)]

    def test_a_late_observer_has_the_order_of_sending_however_deep_it_was_sent(self):
        signal, seen = Signal(), []

        def again(n, **_):
            if n < 3:
                signal.send(n=n + 1)

        signal.connect(again)
        signal.on(priority=0).subscribe(lambda e: seen.append(("early", e["n"])))
        signal.on(priority=1000).subscribe(lambda e: seen.append(("late", e["n"])))
        signal.send(n=0)
        assert [n for who, n in seen if who == "early"] == [n for who, n in seen if who == "late"] == [0, 1, 2, 3]

    def test_who_leaves_is_not_given_what_was_put_off(self):
        signal, seen = Signal(), []
        subscriptions = []

        def again(n, **_):
            if not n:
                signal.send(n=1)
                subscriptions[0].dispose()

        signal.connect(again)
        subscriptions.append(signal.subscribe(lambda e: seen.append(e["n"])))
        signal.send(n=0)
        assert seen == []

    def test_observers_are_listed_and_leave_by_their_subscription_or_by_dispose(self):
        signal = Signal()
        with signal.subscribe(lambda _: None):
            assert len(signal.observers) == len(signal.connections) == 1
        assert signal.observers == []
        signal.subscribe(lambda _: None)
        signal.dispose()
        assert signal.connections == ()
        signal.connect(print)
        assert signal.has_listeners()

    def test_awaiting_gives_the_next_emission(self):
        signal = Signal()

        async def main():
            for relay in (signal, signal.of(Shot), signal.on("n=1", sender=Shot)):
                waiting = asyncio.ensure_future(relay_next(relay))
                await asyncio.sleep(0)
                await asyncio.to_thread(signal.send, Asset, n=0)
                await asyncio.to_thread(signal.send, Shot, n=1)
                yield (await waiting)["n"]

        async def relay_next(relay):
            return await relay

        async def collect():
            return [n async for n in main()]

        assert asyncio.run(collect()) == [0, 1, 1]
        assert signal.connections == ()


@dataclass
class Approval:
    shot: str
    by: str = "nobody"


class Approved(TypedDict):
    shot: str


class TestPayload:
    def test_inspect_sees_it_on_every_way_to_send(self):
        signal = Signal("approved", Approval)
        for way in (signal.send, signal.send_robust, signal.asend, signal.asend_robust):
            assert str(inspect.signature(way)) == "(sender=None, *, shot: str, by: str = 'nobody')"
        assert signal.payload is Approval
        assert list(inspect.signature(Signal("t", Approved).send).parameters) == ["sender", "shot"]

    def test_sending_is_as_ever(self, log):
        signal = Signal("approved", Approval)
        signal.connect(log.named("note", 3), weak=False)
        assert signal.send(Shot, shot="sh010")[0][1] == 3
        assert inspect.iscoroutinefunction(signal.asend)


class TestReceiver:
    def test_it_connects_to_one_or_several(self, log):
        one, two = Signal(), Signal()

        @receiver(one, sender=Shot, priority=3)
        @receiver([one, two])
        def note(**_):
            log.append("note")

        one.send(Shot)
        two.send(Shot)
        assert log == ["note"] * 3

    def test_connect_itself_is_a_decorator(self, log):
        signal = Signal()

        @signal.connect
        def note(**_):
            log.append("note")

        signal.send()
        assert log == ["note"]


def test_secrets_do_not_show():
    signal, seen = Signal("s"), []
    signal.subscribe(seen.append)
    signal.send(Shot, newPassword="hunter2", name="kim")
    assert "hunter2" not in repr(seen)
    assert "kim" in repr(seen)
    assert seen[0]["newPassword"] == "hunter2"


def test_a_failing_receiver_is_logged_on_the_logger_of_the_library(caplog):
    signal = Signal()
    signal.connect(lambda **_: 1 / 0, weak=False)
    with caplog.at_level(logging.ERROR, logger="rxhub"):
        signal.send_robust()
    assert [record.name for record in caplog.records] == ["rxhub"]


def test_who_has_sent_is_let_go_at_once():
    signal = Signal()
    signal.connect(lambda emission, **_: None, weak=False)
    subscription = signal.subscribe(lambda _: None)
    shot = Shot()
    reference = weakref.ref(shot)

    gc.disable()  # the collector would hide a cycle
    try:
        signal.send(shot)
        signal.send_robust(shot)
        del shot
        assert reference() is None
    finally:
        gc.enable()
    subscription.dispose()


def test_a_signal_that_nobody_holds_is_gone_at_once():
    signal = Signal("dead")
    signal.connect(lambda **_: None, Shot)
    signal.send(Shot)
    gc.disable()
    try:
        del signal
        assert "dead" not in [each.name for each in signals()]
    finally:
        gc.enable()


class TestWhatOutlivesAnEmission:
    def test_an_emission_of_a_task_that_outlives_its_own_reaches_pipelines(self):
        signal, seen, tasks = Signal(), [], []

        async def begin(n, **_):
            if n == 0:
                tasks.append(asyncio.ensure_future(signal.asend(n=1)))
                await asyncio.sleep(0)  # the task runs while this emission is under way

        signal.connect(begin)
        signal.subscribe(lambda e: seen.append(e["n"]))

        async def main():
            await signal.asend(n=0)
            await asyncio.gather(*tasks)

        asyncio.run(main())
        assert sorted(seen) == [0, 1]

    def test_a_receiver_may_wait_for_an_emission_of_another_task(self):
        signal, seen = Signal(), []

        async def wait(n, **_):
            if n == 0:
                other = asyncio.ensure_future(answer())
                seen.append((await signal)["n"])
                await other

        async def answer():
            await signal.asend(n=1)

        signal.connect(wait)

        async def main():
            async with asyncio.timeout(5):
                await signal.asend(n=0)

        asyncio.run(main())
        assert seen == [1]

    def test_a_coroutine_receiver_of_a_plain_send_nests(self):
        signal, seen = Signal(), []

        async def again(n, **_):
            if n == 0:
                await signal.asend(n=1)

        signal.connect(again)
        signal.subscribe(lambda e: seen.append(e["n"]))
        signal.send(n=0)
        assert seen == [0, 1]

    def test_nothing_of_an_emission_is_kept_when_it_is_over(self):
        class Payload:
            pass

        signal = Signal()
        signal.subscribe(lambda _: None)
        gc.collect()
        gc.disable()
        try:
            payload = Payload()
            gone = ref(payload)
            signal.send_robust(payload=payload)
            del payload
            assert gone() is None
        finally:
            gc.enable()

    def test_a_stop_by_a_pipeline_that_had_to_wait_holds_for_those_behind_it(self):
        signal, seen = Signal(), []

        def again(n, **_):
            if n == 0:
                signal.send(n=1)

        signal.connect(again)
        signal.on("n=1", priority=200).subscribe(Emission.stop)
        signal.on(priority=300).subscribe(lambda e: seen.append(e["n"]))
        signal.send(n=0)
        assert seen == [0]

    def test_a_loop_that_the_application_has_set_stays(self):
        signal = Signal()

        async def receive(**_):
            return 1

        signal.connect(receive)
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            signal.send()
            assert asyncio.get_event_loop() is loop
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def test_what_a_receiver_awaited_being_cancelled_is_its_own_failure(self, log):
        signal = Signal()

        async def receive(**_):
            task = asyncio.ensure_future(asyncio.sleep(10))
            task.cancel()
            await task

        signal.connect(receive)
        signal.connect(log.named("later"), weak=False)
        for responses in (signal.send_robust(), asyncio.run(signal.asend_robust())):
            assert isinstance(responses[0][1], CallbackInterrupted)
        assert log == ["later", "later"]

    def test_errors_that_were_grouped_are_logged_when_the_rest_is_interrupted(self, caplog):
        signal = Signal(on_receiver_error="group")
        signal.connect(lambda **_: 1 / 0, weak=False)

        def interrupt(**_):
            raise KeyboardInterrupt

        signal.connect(interrupt)
        with pytest.raises(KeyboardInterrupt):
            signal.send()
        assert "division by zero" in caplog.text

    def test_an_owner_keeps_nothing_of_what_died_with_its_sender(self):
        signal, owner, sender = Signal(), Scope("plugin"), Shot()
        with owner.registering():
            signal.connect(lambda **_: None, sender)
        del sender
        gc.collect()
        assert signal.connections == ()
        assert len(owner) == 0

    def test_a_pipeline_keeps_a_sender_no_more_alive_than_a_connection_does(self):
        signal, sender, seen = Signal(), Shot(), []
        shared = signal.on(sender=sender).pipe(ops.share())
        shared.subscribe(seen.append)
        gone = ref(sender)
        del sender
        gc.collect()
        assert gone() is None
        assert signal.connections == ()
        signal.on(sender=Shot).subscribe(seen.append)

    def test_a_failed_connect_leaves_no_seat(self):
        signal, sender = Signal(), Shot()
        with pytest.raises(TypeError, match="unhashable"):
            signal.connect(print, sender, dispatch_uid=[])
        assert not signal._connections.slots


class TestIdentity:
    def test_two_connections_of_a_receiver_are_two(self, log):
        signal, note = Signal(), log.named("note")
        signal.connect(note, Shot)
        signal.connect(note, Asset)
        assert len({*signal.connections}) == 2

    def test_equal_emissions_are_two(self):
        signal, seen = Signal(), []
        signal.pipe(ops.distinct_until_changed()).subscribe(seen.append)
        signal.send(Shot, n=1)
        signal.send(Asset, n=1)
        assert len({*seen}) == 2

    def test_copies_of_a_signal_are_the_signal_and_pickles_are_refused(self):
        signal = Signal("s")
        assert copy.copy(signal) is copy.deepcopy([signal])[0] is signal
        with pytest.raises(TypeError, match="import the same signal"):
            pickle.dumps(signal)

    def test_a_second_class_does_not_rename_it(self):
        class Studio:
            approved = Signal()

        type("Other", (), {"approved": Studio.approved})
        assert Studio.approved.name.endswith("Studio.approved")

    def test_many_threads_asking_get_one_signal_of_connecting(self):
        signals_of = [Signal() for _ in range(200)]
        with ThreadPoolExecutor(4) as pool:
            for signal in signals_of:
                assert len({id(each) for each in pool.map(lambda s: s.connected, [signal] * 4)}) == 1

    def test_it_is_not_iterated_over(self):
        with pytest.raises(TypeError, match="cannot be iterated over"):
            iter(Signal().on())

    @pytest.mark.parametrize("bad", ["abc", [1], [Signal(), None]])
    def test_a_receiver_of_what_is_no_signal_is_refused(self, bad):
        with pytest.raises(TypeError, match="takes one signal or a list"):
            receiver(bad)

    @pytest.mark.parametrize("name", ["sender", "signal"])
    def test_a_name_of_ours_cannot_be_emitted(self, name):
        signal = Signal()
        for relay in (signal, signal.of(Shot)):
            with pytest.raises(TypeError, match=f"passes {name} itself"):
                relay.on_next({name: 1})
