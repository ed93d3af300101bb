"""Restart each service of deploy/compose.yaml under load, and count: `python -m tests.deploy.rolling_restart`.

Clients of ftrack publish through nginx, each its own key, one event after the other. A client publishes an event again,
with the same id, until the server has acknowledged it. Workers record each event. In the meantime, one service after
the other stops as Compose stops it, and starts again.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from signal import SIGTERM
from threading import Event as Flag
from threading import Thread
from time import monotonic
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from rxhub import EventHub
from rxhub.testing import Nats
from tests.compat.ftrack.judged import OURS, THEIRS
from tests.deploy.services import TLS, Services, scraped, services
from tests.stored import stored
from tests.threads import until

__all__ = ["HANDLERS", "RESTARTED", "Report", "restart_under_load", "started"]

HANDLERS: Final = Path(__file__).with_name("recording_handlers.py")
RESTARTED: Final = ("rxhub-1", "rxhub-2", "nats-1", "nats-2", "nats-3", "worker-1", "worker-2")
STREAM: Final = "studio"

_NATS: Final = ("nats-1", "nats-2", "nats-3")
_REPUBLISH_S: Final = 3.0
_LIMIT_S: Final = 120.0


@dataclass
class Report:
    """What happened.

    Attributes:
        acknowledged: ids that a server acknowledged, per key, in order.
        stored: ids in the stream, in order.
        handled: key, number and id of each call of the handler, in order.
        dead: number of dead letters.
        attempts: how often events were published.
        slowest: seconds from the first attempt to publish an event to its acknowledgement, at most.
        processes: number of worker processes that handled events.
        scrapes: number of successful requests to /metrics.
    """

    acknowledged: dict[str, list[str]]
    stored: list[str]
    handled: list[tuple[str, int, str]]
    dead: int
    attempts: int
    slowest: float
    processes: int
    scrapes: int

    @property
    def published(self) -> set[str]:
        return {id for ids in self.acknowledged.values() for id in ids}

    @property
    def repeated(self) -> int:
        """Calls of the handler for an event that was handled before."""
        return len(self.handled) - len({id for _, _, id in self.handled})

    def check(self) -> None:
        """Acknowledged = stored = handled, and no dead letters."""
        assert Counter(self.stored) == Counter(self.published), "acknowledged and stored differ"
        assert {id for _, _, id in self.handled} == self.published, "acknowledged and handled differ"
        assert self.dead == 0

    def check_order(self) -> None:
        """The events of each key are stored and handled in the order in which they were published."""
        places = {id: place for place, id in enumerate(self.stored)}
        for key, ids in self.acknowledged.items():
            assert ids == sorted(ids, key=places.__getitem__), f"the events of {key} were not stored in order"
            # Without repetitions: what is handled again comes later.
            numbers = list(dict.fromkeys(number for each, number, _ in self.handled if each == key))
            late = [(number, after) for number, after in pairwise(numbers) if after != number + 1]
            assert not late, f"the events of {key} were not handled in order: after each other {late}"

    def __str__(self) -> str:
        return (
            f"{len(self.published):,} acknowledged, {len(self.stored):,} stored, "
            f"{len({id for _, _, id in self.handled}):,} handled by {self.processes} processes, {self.repeated} "
            f"again, {self.dead} dead letters; {self.attempts:,} attempts to publish, the slowest event took "
            f"{self.slowest:.1f} s; {self.scrapes} scrapes"
        )


class Publisher:
    """A client of ftrack that publishes the events of one key."""

    def __init__(self, side: Any, stack: Services, key: str, rate: float) -> None:
        self._side = side
        self._key = key
        self._pause = 1 / rate
        self._hub = side.EventHub(stack.url, stack.user, stack.key)
        self._hub._auto_reconnect_delay = 0.2
        self._hub._auto_reconnect_attempts = 1_000
        self._stop = Flag()
        self._thread = Thread(target=self._run, daemon=True)
        self.acknowledged: list[str] = []
        self.attempts = 0
        self.slowest = 0.0
        self.error: BaseException | None = None

    def start(self) -> None:
        self._hub.connect()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(_LIMIT_S)
        assert not self._thread.is_alive() and self.error is None, self.error
        if self._hub.connected:
            self._hub.disconnect()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._publish(len(self.acknowledged))
                self._stop.wait(self._pause)
        except BaseException as error:
            self.error = error

    def _publish(self, number: int) -> None:
        event = self._side.Event("studio.work", data={"key": self._key, "number": number})
        began = monotonic()
        answered = Flag()
        answers: list[Any] = []

        def on_answer(answer: Any) -> None:
            answers.append(answer)
            answered.set()

        while not answered.is_set():
            self.attempts += 1
            try:
                self._hub._publish(event, callback=on_answer)
            except self._side.exception.EventHubConnectionError:
                answered.wait(0.05)
            else:
                answered.wait(_REPUBLISH_S)
        assert answers[0]["success"], answers
        self.slowest = max(self.slowest, monotonic() - began)
        self.acknowledged.append(event["id"])


@contextmanager
def started(fast: bool = False) -> Iterator[Services]:
    """All services, ready; with `fast`, as in `services`."""
    with services(HANDLERS, fast=fast) as stack:
        stack.start(*_NATS)
        stack.start("rxhub-1", "rxhub-2", "worker-1", "worker-2", "proxy")
        yield stack


def restart_under_load(
    stack: Services,
    restarted: Sequence[str] = RESTARTED,
    publishers: int = 4,
    between: int = 20,
    rate: float = 50,
    tell: Callable[[str], object] = lambda _: None,
    kill: bool = False,
) -> Report:
    """Restart services one after the other while clients publish.

    Args:
        stack: running services.
        restarted: names of the services.
        publishers: number of clients; every other one is rxhub's replacement of ftrack's client.
        between: events that each client publishes before and after each restart.
        rate: events per second of each client, at most.
        tell: called with a line for each restart.
        kill: kill servers and workers instead of stopping them.
    """
    clients = [Publisher((THEIRS, OURS)[n % 2], stack, f"key-{n}", rate) for n in range(publishers)]
    scrapes = 0

    def let_publish() -> None:
        goals = [len(client.acknowledged) + between for client in clients]

        def done() -> bool:
            errors = [client.error for client in clients if client.error]
            assert not errors, errors
            return all(len(client.acknowledged) >= goal for client, goal in zip(clients, goals, strict=True))

        until(done, _LIMIT_S)

    with ExitStack() as cleanup:
        for client in clients:
            client.start()
            cleanup.callback(client._stop.set)
        let_publish()
        for name in restarted:
            began = monotonic()
            if kill and name not in _NATS:
                stack[name].kill()
            else:
                status = stack[name].stop()
                # uvicorn repeats the signal at the end of a graceful shutdown.
                assert status in {0, -SIGTERM}, f"{name} exited with status {status}:\n{stack[name].log[-3_000:]}"
            stopped = monotonic()
            stack.start(name)
            tell(f"{name}: stopped after {stopped - began:.1f} s, ready after {monotonic() - stopped:.1f} s")
            let_publish()
            for server, port in scraped():
                assert any(text_string_to_metric_families(stack.ask(server, "/metrics", port)))
                scrapes += 1
        for client in clients:
            client.stop()

    acknowledged = {client._key: client.acknowledged for client in clients}
    count = sum(map(len, acknowledged.values()))
    tell("all published")
    until(lambda: len({record[2] for record in _records(stack)}) >= count, _LIMIT_S)
    tell("all handled")
    where = Nats(stack.nats, stack.nats_user, stack.nats_password, STREAM)
    with EventHub(where.url, where.user, where.password, stream=STREAM) as hub:
        hub.connect()
        dead = sum(state.dead for state in hub.streams() if state.name == STREAM)
    records = _records(stack)
    return Report(
        acknowledged,
        [event["id"] for event in stored(where) if event["topic"] == "studio.work"],
        [(key, int(number), id) for key, number, id, _ in records],
        dead,
        sum(client.attempts for client in clients),
        max(client.slowest for client in clients),
        len({process for _, _, _, process in records}),
        scrapes,
    )


def _records(stack: Services) -> list[list[str]]:
    path = stack.folder / "handled"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--publishers", type=int, default=6)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--between", type=int, default=200)
    parser.add_argument("--kill", action="store_true", help="kill servers and workers instead of stopping them")
    options = parser.parse_args()
    os.environ.update(REQUESTS_CA_BUNDLE=str(TLS), WEBSOCKET_CLIENT_CA_BUNDLE=str(TLS))
    with started() as stack:
        report = restart_under_load(
            stack, RESTARTED * options.rounds, options.publishers, options.between, options.rate, print, options.kill
        )
    print(report)
    report.check()
    report.check_order()


if __name__ == "__main__":
    _main()
