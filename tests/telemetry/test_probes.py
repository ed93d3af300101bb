"""Probes: checks, the answer they add up to, and the lag of an event loop."""

from __future__ import annotations

import asyncio
import time
from threading import Event as Flag

from rxhub.telemetry.probes import Check, LoopLag, Readiness
from tests.threads import elsewhere, until


def test_a_process_is_ready_if_all_checks_passed() -> None:
    readiness = Readiness((Check("connected"), Check("loop_lag", value=0.002)))
    assert readiness.is_ready
    assert readiness.http_status == 200
    assert readiness.to_json() == {
        "status": "ok",
        "checks": {"connected": {"ok": True}, "loop_lag": {"ok": True, "value": 0.002}},
    }


def test_the_body_gives_the_reason_of_a_failure() -> None:
    readiness = Readiness((Check("connected", "no server answers"), Check("subscribed")))
    assert not readiness.is_ready
    assert readiness.http_status == 503
    assert readiness.to_json() == {
        "status": "failed",
        "reason": "connected: no server answers",
        "checks": {"connected": {"ok": False, "reason": "no server answers"}, "subscribed": {"ok": True}},
    }


def test_without_checks_a_process_is_ready() -> None:
    assert Readiness().to_json() == {"status": "ok"}


def test_other_threads_see_the_lag_of_a_blocked_loop_and_its_end() -> None:
    blocked, released, ended = Flag(), Flag(), Flag()
    lags: list[LoopLag] = []

    async def run() -> None:
        lag = LoopLag()
        lags.append(lag)
        blocked.set()
        released.wait(20)
        while not ended.is_set():
            await asyncio.sleep(0.01)
        lag.stop()

    with elsewhere(asyncio.run, run()):
        blocked.wait(20)
        until(lambda: lags[0].seconds > 0.2)
        assert "late" in lags[0].check(limit=0.2).reason
        released.set()
        until(lambda: not lags[0].check(limit=0.2).reason)
        ended.set()


def test_a_probe_on_the_same_loop_sees_that_it_was_blocked() -> None:
    async def run() -> float:
        lag = LoopLag()
        await asyncio.sleep(0)
        time.sleep(0.6)
        await asyncio.sleep(0)
        lag.stop()
        return lag.seconds

    assert asyncio.run(run()) > 0.2
