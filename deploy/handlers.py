"""An example of handlers for the workers of compose.yaml. Replace it with your own module."""

import logging
import os

from rxhub import Event, EventHub

hub = EventHub(
    os.environ["RXHUB_NATS"], os.environ["RXHUB_NATS_USER"], os.environ["RXHUB_NATS_PASSWORD"], stream="studio"
)


@hub.process("topic=studio.*", group="log", key="data.shot")
def log(event: Event) -> None:
    """Log each event; the events of a shot one after the other."""
    logging.getLogger("handlers").warning("%s %s", event.topic, event.id)
