"""`rxhub work --metrics`."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path
from signal import SIGKILL
from threading import Timer
from urllib.error import URLError

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rxhub import EventHub
from rxhub.telemetry.metrics import exposition
from rxhub.testing import Nats
from tests.threads import LIMIT, until
from tests.worker.programs import children, free_port, jobs, probe, publish, working


def value(port: int, name: str, **labels: str) -> float:
    """The value of a series; 0 if there is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LIMIT) as answer:
            body = answer.read().decode()
    except URLError:
        return 0.0
    for family in text_string_to_metric_families(body):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return 0.0


@pytest.mark.parametrize("processes", ["1", "2"])
def test_it_serves_the_metrics_of_all_processes(tmp_path: Path, nats: Nats, hub: EventHub, processes: str) -> None:
    jobs(tmp_path)
    port = free_port()
    arguments = "--metrics", str(port), "--health", str(port), "--processes", processes
    with working(tmp_path, nats, "farm", *arguments) as worker:
        until(lambda: probe(port, "/readyz")[0] == 200, 2 * LIMIT)
        until(lambda: value(port, "rxhub_hubs") == int(processes), 2 * LIMIT)
        publish(hub, "job", *range(20))
        until(lambda: value(port, "rxhub_processing_handled_total", group="jobs", topic="job") == 20, 2 * LIMIT)
        assert value(port, "rxhub_processing_seconds_count", group="jobs") == 20
        assert worker.end() == 0


def test_a_file_that_another_process_has_just_created_is_read_again(tmp_path: Path) -> None:
    created = tmp_path / "counter_1.db"
    created.touch()
    writing = Timer(0.05, lambda: created.write_bytes(bytes(4096)))
    writing.start()
    assert exposition(directory=str(tmp_path))[0] == b""
    writing.join()


def test_the_successors_of_crashed_processes_continue_their_counters_and_files(
    tmp_path: Path, nats: Nats, hub: EventHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    jobs(tmp_path)
    port = free_port()

    def files() -> set[str]:
        # Without those of the queues, some of which appear with the first lag of the group.
        return {path.name for path in tmp_path.glob("rxhub-metrics-*/[ch]*.db")}

    def handled() -> float:
        return value(port, "rxhub_processing_handled_total", group="jobs", topic="job")

    arguments = "--metrics", str(port), "--health", str(port), "--processes", "2"
    with working(tmp_path, nats, "farm", *arguments) as worker:
        until(lambda: value(port, "rxhub_hubs") == 2, 2 * LIMIT)
        publish(hub, "job", *range(20))
        until(lambda: handled() == 20, 2 * LIMIT)
        before, running = files(), children(worker)
        for pid in running:
            os.kill(pid, SIGKILL)
        until(lambda: len(children(worker)) == 2 and not children(worker) & running, 2 * LIMIT)
        until(lambda: value(port, "rxhub_hubs") == 2, 2 * LIMIT)
        assert handled() >= 20
        publish(hub, "job", *range(20, 30))
        until(lambda: handled() >= 30, 2 * LIMIT)
        assert files() == before and len(before) == 4
        assert worker.end() == 0
    assert not list(tmp_path.glob("rxhub-metrics-*"))
