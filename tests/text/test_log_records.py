"""What rxhub logs is printable, whatever an event holds."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from rxhub import Event, EventHub, Signal
from rxhub.text.log_records import LOGGERS, PrintableFormatter, escape_record

HOSTILE = "studio.\x1b]0;x\x07\x9b31m\u202e"


@pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")
def test_the_log_of_a_failing_callback_is_printable(caplog: pytest.LogCaptureFixture) -> None:
    with EventHub() as hub:

        @hub.on("topic=studio.*")
        def fail(event: Event) -> None:
            raise ValueError(f"cannot use {event.topic}\nlevel=CRITICAL forged")

        hub.publish(Event(f"{HOSTILE}\nforged line"))
        hub.drain()
    (record,) = [each for each in caplog.records if "Error calling" in each.getMessage()]
    written = PrintableFormatter().format(record)
    assert r"\x1b]0;x\x07\x9b31m\u202e" in written
    assert "Traceback" in written
    assert all(line.isprintable() for line in written.replace("\t", "").split("\n"))
    assert "\nforged line" not in written.split("Traceback")[0]
    assert written == logging.Formatter().format(record)


def test_a_clean_record_keeps_its_arguments_and_exception(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("rxhub").warning("%s of %d", "one", 2, exc_info=ValueError("x"))
    (record,) = caplog.records
    assert (record.msg, record.args) == ("%s of %d", ("one", 2))


def test_every_logger_of_rxhub_has_the_filter() -> None:
    program = (
        "import logging, pkgutil, importlib, rxhub\n"
        "for module in pkgutil.walk_packages(rxhub.__path__, 'rxhub.'):\n"
        "    if '__main__' in module.name: continue\n"
        "    try: importlib.import_module(module.name)\n"
        "    except (ImportError, RuntimeError): pass\n"
        "print(*sorted(n for n, l in logging.root.manager.loggerDict.items()"
        " if n.split('.')[0] == 'rxhub' and isinstance(l, logging.Logger)))"
    )
    known = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    assert set(known.stdout.split()) <= set(LOGGERS)
    for name in LOGGERS:
        assert escape_record in logging.getLogger(name).filters


@pytest.mark.parametrize(
    "show",
    [
        lambda: Event(HOSTILE, data={HOSTILE: HOSTILE}),
        lambda: Signal(HOSTILE),
        lambda: Signal(HOSTILE).of(HOSTILE),
        lambda: EventHub("memory://").subscription,
    ],
    ids=["event", "signal", "signal of a sender", "hub"],
)
def test_representations_are_printable(show) -> None:
    assert repr(show()).isprintable()


@pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")
def test_representations_of_subscribers_deliveries_and_outcomes_are_printable() -> None:
    with EventHub() as hub:
        deliveries = []
        hub.deliveries.subscribe(deliveries.append)

        def fail(event: Event) -> None:
            raise ValueError(event.topic)

        identifier = hub.subscribe("topic=*", fail, {"id": HOSTILE})
        hub.publish(Event(HOSTILE))
        hub.drain()
        subscriber = hub.get_subscriber_by_identifier(identifier)
        (delivery,) = deliveries
        for each in (subscriber, delivery, *delivery, hub):
            assert repr(each).isprintable()
            assert str(each).isprintable()
        assert str(hub.describe()).replace("\n", "").isprintable()
        for each in (subscriber, delivery, hub, Event(HOSTILE, id=HOSTILE)):
            for text in each._repr_mimebundle_().values():
                assert text.replace("\n", "").replace("\t", "").isprintable()
