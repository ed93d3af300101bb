"""`rxhub work`: run the handlers of modules."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.options import argument, option
from rxhub.cli.output import log_to_stderr
from rxhub.concurrency.shutdown import GRACE_S
from rxhub.telemetry.counts import METRICS_VARIABLE, PROCESS_VARIABLE
from rxhub.telemetry.probes import Readiness

__all__ = ["command"]

_MAX_PROCESSES = 256


@exits_with_status
def command(
    modules: Annotated[
        list[str],
        argument("MODULE", "Modules with handlers, for example farm.handlers. MODULE:HUB selects one hub of a module."),
    ],
    grace: Annotated[
        float, option("SECONDS", "Time for running handlers to finish after SIGTERM or Ctrl-C.", min=0, max=86_400)
    ] = GRACE_S,
    processes: Annotated[
        int, option("N", "Number of processes. Those that crash are restarted.", min=1, max=_MAX_PROCESSES)
    ] = 1,
    health: Annotated[
        str | None,
        option(
            "PORT",
            "Port for the probes /healthz and /readyz, or ADDRESS:PORT, for example 0.0.0.0:8080. Without an address, "
            "only this machine can connect.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        option("PORT", "Port for /metrics, which Prometheus reads, or ADDRESS:PORT. May be the port of --health."),
    ] = None,
) -> Status:
    """Run the handlers of modules until SIGTERM or Ctrl-C.

    Imports the modules from the working directory or the Python path, and connects and runs their hubs. After a signal,
    receives no more events, lets running handlers finish, returns unfinished events to their groups, and exits with
    status 0. A second signal ends the command at once.
    """
    # Imported here, so that other commands do not import them.
    if processes > 1:
        if os.name != "posix":
            raise typer.BadParameter("Several processes need Linux or macOS.", param_hint="--processes")
        from rxhub.worker.supervisor import Supervisor

        _log()
        program = [sys.executable, "-m", "rxhub", "work", *modules, "--grace", f"{grace:g}"]
        with ExitStack() as stack:
            directory = None
            if metrics is not None:
                directory = stack.enter_context(TemporaryDirectory(prefix="rxhub-metrics-"))
            supervisor = Supervisor(program, processes, grace, directory)
            _answer(health, metrics, supervisor.liveness, supervisor.readiness, directory)
            return Status(supervisor.run())
    from rxhub.worker import control
    from rxhub.worker.worker import WorkerProcess

    if metrics is not None or METRICS_VARIABLE in os.environ:
        # Before the modules create hubs.
        from rxhub.telemetry.metrics import enable, share_as

        if name := os.environ.pop(PROCESS_VARIABLE, ""):  # programs that handlers start have no name
            share_as(name)
        enable()
    worker = WorkerProcess(modules, grace, on_loaded=_log)
    _answer(health, metrics, worker.liveness, worker.readiness)
    control.connect(worker.stop, worker.readiness)
    worker.run()
    return Status.MATCHED


def _answer(
    health: str | None,
    metrics: str | None,
    liveness: Callable[[], Readiness],
    readiness: Callable[[], Readiness],
    directory: str | None = None,
) -> None:
    """Answer probes and Prometheus until the end of the process, where addresses are given."""
    if health is None and metrics is None:
        return
    from rxhub.worker.endpoint import HttpEndpoint, Routes, metrics_route, parse_address, probe_routes

    routes: dict[tuple[str, int], Routes] = {}
    for name, text, found in (
        ("--health", health, lambda: probe_routes(liveness, readiness)),
        ("--metrics", metrics, lambda: metrics_route(directory)),
    ):
        if text is None:
            continue
        try:
            address = parse_address(text)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint=name) from None
        routes[address] = {**routes.get(address, {}), **found()}
    for address, answers in routes.items():
        HttpEndpoint(*address, answers)


def _log() -> None:
    """Log to stderr, unless the modules have configured logging."""
    if not logging.getLogger().handlers:
        log_to_stderr("%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("rxhub.worker").setLevel(logging.INFO)
