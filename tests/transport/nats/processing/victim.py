"""A process of a group that can be killed: `python -m tests.transport.nats.processing.victim OPTIONS NOTES`.

It appends what it starts and what it has done to the file NOTES, with one write each. An event can contain an
instruction in `do`: `die` ends the process in the middle of the handler, `die once` only if no process has started the
event before, and `die after` when the id is stored and the event is not acknowledged yet.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rxhub import Event, EventHub
from rxhub.transport.nats.processing import group
from rxhub.transport.nats.processing.handled_ids import HandledIdStore, digest_of

__all__ = ["main"]

ACK_WAIT_S = 1.0


def main(options: dict[str, Any], notes: Path) -> None:
    group.ACK_WAIT_S = ACK_WAIT_S
    out = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    to_die: list[bytes] = []

    def note(what: str, event: Event) -> None:
        os.write(out, f"{what} {event.data['value']}\n".encode())

    def handle(event: Event) -> None:
        note("begin", event)
        do = event.data.get("do")
        if do == "die" or (do == "die once" and notes.read_text().count(f"begin {event.data['value']}\n") == 1):
            os._exit(9)
        if do == "die after":
            to_die.append(digest_of(event.id))
        time.sleep(options.get("seconds", 0.002))
        note("done", event)

    mark = HandledIdStore.mark

    async def mark_and_die(self: HandledIdStore, digests: Iterable[bytes], reset_id: str | None = None) -> None:
        marked = list(digests)
        await mark(self, marked, reset_id)
        if not set(to_die).isdisjoint(marked):
            os._exit(9)

    HandledIdStore.mark = mark_and_die  # type: ignore[method-assign]
    hub = EventHub(options["url"], options["user"], options["password"], stream=options["stream"])
    hub.process("topic=a", handle, group="g", **options["process"])
    print("ready", flush=True)
    # Until the parent process ends.
    sys.stdin.read()
    hub.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
