"""The module of the workers: records each handled event in a file that all workers share."""

from __future__ import annotations

import os

from rxhub import Event, EventHub

# Each record is one write to the end of the file, so records of several processes are whole, and in the order in which
# the handlers ran.
_RECORDS = os.open("../handled", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

hub = EventHub(
    os.environ["RXHUB_NATS"], os.environ["RXHUB_NATS_USER"], os.environ["RXHUB_NATS_PASSWORD"], stream="studio"
)


@hub.process("topic=studio.work", group="record", key="data.key", concurrency=4)
def record(event: Event) -> None:
    os.write(_RECORDS, f"{event.data['key']} {event.data['number']} {event.id} {os.getpid()}\n".encode())
