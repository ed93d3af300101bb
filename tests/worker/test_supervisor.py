"""`rxhub work --processes`: crashed processes are restarted, and all of them stop together."""

from __future__ import annotations

import os
import re
from pathlib import Path
from signal import SIGKILL, SIGTERM

from rxhub import EventHub
from rxhub.testing import Nats
from tests.threads import LIMIT, until
from tests.worker.programs import children, free_port, jobs, notes, probe, publish, working


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def until_ready(port: int) -> None:
    until(lambda: probe(port, "/readyz")[0] == 200, 3 * LIMIT)


def test_running_jobs_finish_once_even_if_the_signal_reaches_all_processes(
    tmp_path: Path, nats: Nats, hub: EventHub
) -> None:
    jobs(tmp_path)
    port = free_port()
    with working(tmp_path, nats, "farm", "--processes", "2", "--health", str(port)) as workers:
        until_ready(port)
        publish(hub, "job", 1, 2, seconds=1.0)
        until(lambda: len(notes(tmp_path)) == 2)
        # As systemd does with KillMode=control-group.
        for pid in children(workers):
            os.kill(pid, SIGTERM)
        assert workers.end(SIGTERM) == 0
    assert sorted(notes(tmp_path)) == ["begin 1", "begin 2", "done 1", "done 2"]


def test_a_crashed_process_is_restarted_and_its_event_handled(tmp_path: Path, nats: Nats, hub: EventHub) -> None:
    jobs(tmp_path)
    text = (tmp_path / "farm.py").read_text()
    (tmp_path / "farm.py").write_text(f"import rxhub.transport.nats.processing.group as g\ng.ACK_WAIT_S = 1.0\n{text}")
    port = free_port()
    with working(tmp_path, nats, "farm", "--processes", "2", "--health", str(port)) as workers:
        until_ready(port)
        before = children(workers)
        publish(hub, "job", 1, seconds=0.5)
        until(lambda: notes(tmp_path))
        for pid in before:
            os.kill(pid, SIGKILL)
        until(lambda: "crashed with SIGKILL" in workers.said)
        until(lambda: len(children(workers)) == 2 and not children(workers) & before)
        until_ready(port)
        until(lambda: "done 1" in notes(tmp_path))
        assert workers.end() == 0
    assert notes(tmp_path) == ["begin 1", "begin 1", "done 1"]


def test_readiness_names_the_process_and_the_reason(tmp_path: Path, nats: Nats) -> None:
    jobs(tmp_path)
    text = (tmp_path / "farm.py").read_text()
    (tmp_path / "farm.py").write_text(f"import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\n{text}")
    port = free_port()
    with working(tmp_path, nats, "farm", "--processes", "2", "--health", str(port)) as workers:
        until(lambda: "not loaded" in probe(port, "/readyz")[1].get("reason", ""), 2 * LIMIT)
        status, body = probe(port, "/readyz")
        assert status == 503 and set(body["checks"]) == {"running", "process 1", "process 2"}
        (tmp_path / "go").touch()
        until_ready(port)
        assert probe(port, "/healthz")[0] == 200
        assert workers.end() == 0


def test_an_error_in_a_module_ends_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import missing_module\n")
    with working(tmp_path, None, "broken", "--processes", "2") as workers:
        assert workers.process.wait(3 * LIMIT) == 2
        assert "No module named 'missing_module'" in workers.said and "crashed" not in workers.said


def test_the_processes_stop_when_the_supervisor_is_killed(tmp_path: Path, nats: Nats, hub: EventHub) -> None:
    jobs(tmp_path)
    port = free_port()
    with working(tmp_path, nats, "farm", "--processes", "2", "--health", str(port)) as workers:
        until_ready(port)
        pids = children(workers)
        publish(hub, "job", 1, seconds=0.5)
        until(lambda: notes(tmp_path))
        assert workers.end(SIGKILL) == -SIGKILL
        until(lambda: not any(is_alive(pid) for pid in pids))
    assert notes(tmp_path) == ["begin 1", "done 1"]


def test_a_second_signal_ends_all_processes_at_once(tmp_path: Path, nats: Nats, hub: EventHub) -> None:
    jobs(tmp_path)
    port = free_port()
    with working(tmp_path, nats, "farm", "--processes", "2", "--grace", "600", "--health", str(port)) as workers:
        until_ready(port)
        pids = children(workers)
        publish(hub, "job", 1, seconds=600)
        until(lambda: notes(tmp_path))
        workers.process.send_signal(SIGTERM)
        workers.until_said("SIGTERM: stopping 2 processes")
        assert workers.end(SIGTERM) == -SIGTERM
        until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_process_that_ignores_everything_is_killed_after_the_grace_period(tmp_path: Path, nats: Nats) -> None:
    jobs(tmp_path)
    with (tmp_path / "farm.py").open("a") as file:
        # Stopped, as by a debugger or a hanging C extension.
        file.write("\nimport signal, threading\nthreading.Timer(1, os.kill, (os.getpid(), signal.SIGSTOP)).start()\n")
    with working(tmp_path, nats, "farm", "--processes", "2", "--grace", "0.1") as workers:
        until(lambda: len(re.findall("Running farm:hub", workers.said)) == 2, 3 * LIMIT)
        pids = children(workers)
        until(lambda: all(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T" for pid in pids))
        assert workers.end() == 0
        assert workers.said.count("is killed") == 2
        assert not any(is_alive(pid) for pid in pids)
