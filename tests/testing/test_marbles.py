"""Marble tests of events."""

from __future__ import annotations

import pytest
from reactivex import operators as ops

from rxhub import Event
from rxhub.testing import MarbleError, Marbles

NOTE = Event("studio.review.note", data={"note": "ok"})
DARK = Event("studio.review.note", data={"note": "zu dunkel"})


def test_what_is_published_reaches_a_pipeline_at_its_time(marbles: Marbles) -> None:
    marbles.publish("a-b---c", {"a": NOTE, "b": DARK, "c": Event("studio.render.failed")})
    notes = marbles.hub.on("topic=studio.review.note")
    marbles.expect(notes).to_be("a-b", {"a": NOTE, "b": DARK})
    marbles.expect(notes.pipe(ops.debounce(3.0))).to_be("-----b", {"b": DARK})
    marbles.expect(notes.pipe(ops.map(lambda event: event.data["note"])), "-^-!").to_be("--x", {"x": "zu dunkel"})


def test_a_cold_source_begins_with_each_subscription(marbles: Marbles) -> None:
    source = marbles.cold("-a-|")
    marbles.expect(source, "^--").to_be("-a-|")
    marbles.expect(source, "--^-!").to_be("---a")
    marbles.expect_subscriptions(source, "^--!", "--^-!")


def test_a_hot_source_does_not_wait_for_anybody(marbles: Marbles) -> None:
    source = marbles.hot("-x-^-a-b-#", error=RuntimeError("down"))
    marbles.expect(source).to_be("--a-b-#", error=RuntimeError("down"))
    marbles.expect(source, "---^").to_be("----b-#")


def test_time_may_pass_in_hours() -> None:
    with Marbles(tick=0.001) as marbles:
        source = marbles.cold("a 2h (b|)")
        marbles.expect(source.pipe(ops.delay(3_600.0))).to_be("1h a 2h (b|)")


def test_a_failed_expectation_shows_both_and_the_difference() -> None:
    marbles = Marbles()
    marbles.publish("a---b", {"a": NOTE, "b": DARK})
    marbles.expect(marbles.hub.on("")).to_be("a--b-c", {"a": NOTE, "b": DARK, "c": NOTE})
    with pytest.raises(AssertionError) as raised:
        marbles.run()
    assert str(raised.value) == (
        "The stream differs from what was expected.\n"
        "  expected  a--b-c\n"
        "  found     a---b\n"
        "  (- expected, + found)\n"
        "           0 s  a\n"
        "  -        3 s  b\n"
        "  +        4 s  b\n"
        "  -        5 s  c\n"
        "  where a = studio.review.note {'note': 'ok'}\n"
        "        b = studio.review.note {'note': 'zu dunkel'}\n"
        "        c = studio.review.note {'note': 'ok'}"
    )


def test_values_that_nobody_expected_get_letters_of_their_own() -> None:
    marbles = Marbles()
    marbles.expect(marbles.cold("a", {"a": {"n": 1}})).to_be("a", {"a": {"n": 2}})
    with pytest.raises(AssertionError, match=r"Z = \{'n': 1\}"):
        marbles.run()


def test_what_comes_after_the_diagram_is_seen() -> None:
    marbles = Marbles()
    marbles.expect(marbles.cold("a---------b")).to_be("a")
    with pytest.raises(AssertionError, match="10 s  b"):
        marbles.run()


def test_errors_are_compared_by_type_and_text() -> None:
    with Marbles() as marbles:
        marbles.expect(marbles.cold("-#")).to_be("-#", error=MarbleError("#"))
        marbles.expect(marbles.cold("-#")).to_be("-#")
    marbles.expect(marbles.cold("#", error=KeyError("a"))).to_be("#", error=ValueError("a"))
    with pytest.raises(AssertionError):
        marbles.run()


def test_wrong_subscriptions_are_shown() -> None:
    marbles = Marbles()
    source = marbles.cold("--|")
    marbles.expect(source)
    marbles.expect_subscriptions(source, "^---!")
    with pytest.raises(AssertionError) as raised:
        marbles.run()
    assert "- 0 s to 4 s" in str(raised.value)
    assert "+ 0 s to 2 s" in str(raised.value)


def test_only_events_are_published() -> None:
    marbles = Marbles()
    with pytest.raises(ValueError, match="'|' in 'a|' is none"):
        marbles.publish("a|")
    with pytest.raises(ValueError, match="more than 0"):
        Marbles(tick=0)


def test_one_run_follows_another(marbles: Marbles) -> None:
    for _ in range(2):
        marbles.publish("-a")
        marbles.expect(marbles.hub.on("topic=a").pipe(ops.map(lambda event: event.topic)), "^-!").to_be("-a")
        marbles.run()
