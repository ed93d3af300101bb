"""`rxhub work` in one process: it runs handlers, and ends gracefully whatever they do."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from signal import SIGINT, SIGKILL, SIGTERM, Signals

import pytest

from rxhub import EventHub
from rxhub.errors import StreamError
from rxhub.testing import Nats
from tests.threads import LIMIT, until
from tests.transport.nats.processing.working import ask
from tests.worker.programs import free_port, jobs, notes, probe, publish, working


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_an_idle_worker_exits_with_0(tmp_path: Path, nats: Nats, number: Signals) -> None:
    jobs(tmp_path)
    with working(tmp_path, nats, "farm") as worker:
        worker.until_running()
        assert worker.end(number) == 0
        assert "ERROR" not in worker.said and "Traceback" not in worker.said


def test_it_runs_handlers_and_subscribers_of_several_modules_once(tmp_path: Path, nats: Nats, hub: EventHub) -> None:
    jobs(tmp_path)
    (tmp_path / "more.py").write_text(
        "from farm import hub, note\n\n@hub.on('topic=tick')\ndef tick(event):\n    note('tick', event)\n"
    )
    with working(tmp_path, nats, "farm", "more:hub") as worker:
        worker.until_running()
        publish(hub, "tick", 1)
        publish(hub, "job", 2)
        until(lambda: {"tick 1", "done 2"} <= set(notes(tmp_path)))
        assert worker.end() == 0
    assert sorted(notes(tmp_path)) == ["begin 2", "done 2", "tick 1"]


def test_a_running_job_is_finished_and_the_others_are_returned(tmp_path: Path, nats: Nats, hub: EventHub) -> None:
    jobs(tmp_path)
    with working(tmp_path, nats, "farm") as worker:
        publish(hub, "job", 1, 2, 3, seconds=1.0)
        until(lambda: notes(tmp_path), 2 * LIMIT)
        assert worker.end() == 0
    assert notes(tmp_path) == ["begin 1", "done 1"]
    with working(tmp_path, nats, "farm") as worker:
        until(lambda: "done 3" in notes(tmp_path), 2 * LIMIT)
        assert worker.end() == 0
    assert notes(tmp_path) == [f"{what} {n}" for n in (1, 2, 3) for what in ("begin", "done")]


SHORT_LEASE = "import rxhub.transport.nats.processing.group as g\ng.ACK_WAIT_S = 1.0\n"


@pytest.mark.parametrize("how", ["a thread", "a coroutine", "killed in the grace period"])
def test_deployments_do_not_turn_a_long_job_into_a_dead_letter(
    tmp_path: Path, nats: Nats, hub: EventHub, how: str
) -> None:
    # The first failed attempt would be the last.
    jobs(tmp_path, retries=0)
    text = SHORT_LEASE + (tmp_path / "farm.py").read_text()
    if how == "a coroutine":
        text = text.replace("def job", "async def job").replace("time.sleep", "await __import__('asyncio').sleep")
    (tmp_path / "farm.py").write_text(text)
    publish(hub, "job", 1, seconds=600)
    is_killed = how.startswith("killed")
    for deployment in range(1, 4):
        with working(tmp_path, nats, "farm", "--grace", "600" if is_killed else "0") as worker:
            until(lambda n=deployment: len(notes(tmp_path)) == n, 2 * LIMIT)
            if is_killed:
                before = records_written(hub)
                worker.process.send_signal(SIGTERM)
                until(lambda n=before: records_written(hub) > n)
                worker.end(SIGKILL)
            else:
                assert worker.end() == 0
    assert notes(tmp_path) == ["begin 1"] * 3
    assert not len(hub.dead_letters)


def records_written(hub: EventHub) -> int:
    """How often the group has recorded attempts."""
    try:
        return ask(hub, "STREAM.INFO.KV_{stream}-attempts-jobs")["state"]["last_seq"]
    except StreamError:  # not yet
        return 0


HANGING = """
@hub.process("topic=hang", group="coroutine", since="first")
async def ignore_cancellation(event):
    note("coroutine", event)
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass


@hub.process("topic=hang", group="thread", since="first")
def busy(event):
    note("thread", event)
    while True:
        pass


@hub.on("topic=hang")
def subscriber(event):
    threading.Thread(target=time.sleep, args=(600,)).start()
    note("subscriber", event)
    time.sleep(600)
"""


def test_what_does_not_end_cannot_prevent_the_exit(tmp_path: Path, nats: Nats, hub: EventHub) -> None:
    jobs(tmp_path)
    text = (tmp_path / "farm.py").read_text()
    (tmp_path / "farm.py").write_text(f"import asyncio, threading{text}{HANGING}")
    with working(tmp_path, nats, "farm", "--grace", "0.2") as worker:
        worker.until_running()
        publish(hub, "hang", 1)
        until(lambda: len(notes(tmp_path)) == 3)
        assert worker.end() == 0
    assert not len(hub.dead_letters)


def test_a_signal_while_a_module_is_imported_ends_the_worker(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\nprint('importing')\ntime.sleep(600)\n")
    with working(tmp_path, None, "slow") as worker:
        worker.until_said("importing")
        assert worker.end() == 0


def test_a_second_signal_ends_it_at_once(tmp_path: Path, nats: Nats, hub: EventHub) -> None:
    jobs(tmp_path)
    with working(tmp_path, nats, "farm", "--grace", "600") as worker:
        publish(hub, "job", 1, seconds=600)
        until(lambda: notes(tmp_path), 2 * LIMIT)
        worker.process.send_signal(SIGTERM)
        time.sleep(0.2)  # equal signals that arrive together count as one
        assert worker.end(SIGTERM) == -SIGTERM


def test_signals_at_random_moments_lose_and_repeat_nothing(tmp_path: Path, nats: Nats, hub: EventHub) -> None:
    jobs(tmp_path, retries=0, concurrency=4)
    values = range(60)
    publish(hub, "job", *values, seconds=0.05)
    random = Random(4)
    for _ in range(3):
        with working(tmp_path, nats, "farm") as worker:
            worker.until_running()
            time.sleep(random.uniform(0, 0.3))
            assert worker.end() == 0
    with working(tmp_path, nats, "farm") as worker:
        until(lambda: len(notes(tmp_path)) >= 2 * len(values), 2 * LIMIT)
        assert worker.end() == 0
    assert sorted(notes(tmp_path)) == sorted(f"{what} {value}" for value in values for what in ("begin", "done"))
    assert not len(hub.dead_letters)


def test_it_ends_with_the_error_of_a_processing(tmp_path: Path, nats: Nats, hub: EventHub) -> None:
    jobs(tmp_path)
    with working(tmp_path, nats, "farm") as worker:
        worker.until_running()
        hub.process("topic=other", print, group="jobs", replace=True).stop()
        publish(hub, "other", 1)
        assert worker.process.wait(3 * LIMIT) == 2
        assert "the group has: topic=other" in worker.said and "Traceback" not in worker.said


def test_it_answers_probes_with_the_reason(tmp_path: Path, nats: Nats, hub: EventHub) -> None:
    jobs(tmp_path)
    (tmp_path / "slow.py").write_text(
        "import time, os\nwhile not os.path.exists('go'): time.sleep(0.01)\nfrom farm import hub\n"
    )
    port = free_port()
    with working(tmp_path, nats, "slow", "--health", str(port), "--grace", "600") as worker:
        until(lambda: probe(port, "/healthz")[0] == 200, 2 * LIMIT)
        status, body = probe(port, "/readyz")
        assert (status, body["status"]) == (503, "failed")
        assert body["checks"]["running"] == {"ok": False, "reason": "the modules are not loaded yet"}
        (tmp_path / "go").touch()
        until(lambda: probe(port, "/readyz")[0] == 200)
        _, body = probe(port, "/readyz")
        assert set(body["checks"]) == {"running", "connected", "subscribed", "group_joined", "loop_lag"}
        publish(hub, "job", 1, seconds=600)
        until(lambda: notes(tmp_path))
        worker.process.send_signal(SIGTERM)
        until(lambda: probe(port, "/readyz")[0] == 503)
        assert "running: the worker is stopping" in probe(port, "/readyz")[1]["reason"]
        assert probe(port, "/healthz")[0] == 200
