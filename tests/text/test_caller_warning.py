"""Warnings point at the line of the user's program, whichever method was called."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from rxhub import Event, EventHub, Signal
from rxhub.errors import HubConnectionError, NotHandledWarning, SubscriptionWarning
from rxhub.testing import Nats
from rxhub.text.caller_warning import warn_caller


def line_of(call: Callable[[], Any], category: type[Warning]) -> tuple[str, int]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    (warning,) = [each for each in caught if each.category is category]
    return warning.filename, warning.lineno


def first_line(call: Callable[[], Any]) -> tuple[str, int]:
    code = call.__code__  # type: ignore[attr-defined]
    return code.co_filename, code.co_firstlineno


@pytest.mark.parametrize(
    "call",
    [
        lambda: EventHub().publish(Event("a")),
        lambda: EventHub().publish(Event("a"), on_reply=print),
        lambda: EventHub().publish_reply(Event("a", source={"id": "x"}), 1),
        lambda: EventHub().forward(Event("a")),
    ],
)
def test_publishing_on_a_hub_that_nobody_handles(call: Callable[[], Any]) -> None:
    assert line_of(call, NotHandledWarning) == first_line(call)


def test_publishing_in_a_coroutine() -> None:
    async def call() -> None: await EventHub().apublish(Event("a"))  # fmt: skip

    assert line_of(lambda: asyncio.run(call()), NotHandledWarning) == first_line(call)


@pytest.mark.parametrize(
    "call",
    [
        lambda: EventHub().subscribe("topc=a", print),
        lambda: EventHub().on("topc=a"),
        lambda: EventHub().on("topc=a")(print),
        lambda: EventHub().subscription("topc=a", print).__enter__(),
        lambda: EventHub().stream("topc=a"),
    ],
)
def test_a_misspelled_key(call: Callable[[], Any]) -> None:
    assert line_of(call, SubscriptionWarning) == first_line(call)


def test_a_misspelled_key_of_a_replay(nats: Nats) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        for call in (lambda: hub.replay("topc=a"), lambda: hub.process("topc=a", print, group="g")):
            with suppress(HubConnectionError):
                assert line_of(call, SubscriptionWarning) == first_line(call)
        assert not warned(lambda: hub.replay("topic=a"))


def test_a_program_without_a_frame_of_its_own_is_warned_all_the_same() -> None:
    with pytest.warns(UserWarning, match="careful"):
        exec("warn_caller('careful', UserWarning)", {"warn_caller": warn_caller, "__name__": "rxhub.test"})


def warned(call: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(each.message) for each in caught if each.category is SubscriptionWarning]


@pytest.mark.parametrize(
    ("subscription", "hints"),
    [
        ("topc=a", ["'topc': did you mean 'topic'"]),
        ("Topic=a", ["'Topic': did you mean 'topic'"]),
        ("date.x=1", ["'date.x': did you mean 'data.x'"]),
        ("not (sorce.user=a or topic=b) and dta.y>1", ["did you mean 'source.user'", "did you mean 'data.y'"]),
        ("inReplyToEvent=x", ["did you mean 'in_reply_to_event'"]),
        ("tagret=x", ["did you mean 'target'"]),
        ("topc in (a, b)", ["did you mean 'topic'"]),
        ("di=x", ["'di': did you mean 'id'"]),
        ("topic=a and data.entities.entitiyType=x and source.usr=y and target=z and sent=1 and id=2", []),
        ("custom=1 and tenant.id=2 and entities=3 and user=x", []),
        ("source_url=a and target_name=b and topic_id=c and sent_at=d and absent=e and resent=f and tpc=g", []),
        ("", []),
    ],
)
def test_near_misses_of_the_seven_keys(subscription: str, hints: list[str]) -> None:
    for call in (lambda: EventHub().subscribe(subscription, print), lambda: EventHub().on(subscription)):
        found = warned(call)
        assert len(found) == bool(hints)
        assert all(hint in found[0] for hint in hints)


def test_a_signal_warns_where_its_payload_is_known() -> None:
    def payload(shot: str, version: int) -> None: ...

    def anything(shot: str, **more: Any) -> None: ...

    signal = Signal("approved", payload)
    (found,) = warned(lambda: signal.connect(print_all, where="vesion>1 and shot=x and other=1"))
    assert "did you mean 'version'" in found
    assert not warned(lambda: signal.connect(print_all, where="sender=x and signal=y and shot=1"))
    for key in ("shto=x", "verison=1", "version_number=1", "vresion=1"):
        assert bool(warned(lambda key=key: signal.connect(print_all, where=key))) is (key != "version_number=1")

    def short(job: int) -> None: ...

    for key in ("jbo", "jop", "jb"):
        assert (
            "did you mean 'job'" in warned(lambda key=key: Signal("s", short).connect(print_all, where=f"{key}=1"))[0]
        )
    for unknown in (Signal("a"), Signal("b", anything)):
        assert not warned(lambda unknown=unknown: unknown.connect(print_all, where="shto=1"))


def print_all(**kwargs: Any) -> None:
    print(kwargs)
