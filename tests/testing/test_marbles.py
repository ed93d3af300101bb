"""Marble tests of events."""

from __future__ import annotations

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops
from reactivex.disposable import Disposable

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
    marbles.expect(source).to_be("--|")
    marbles.expect_subscriptions(source, "^---!")
    with pytest.raises(AssertionError) as raised:
        marbles.run()
    assert "- 0 s to 4 s" in str(raised.value)
    assert "+ 0 s to 2 s" in str(raised.value)


def test_only_events_are_published() -> None:
    marbles = Marbles()
    with pytest.raises(ValueError, match="'|' in 'a|' is not an event"):
        marbles.publish("a|")
    with pytest.raises(ValueError, match="greater than 0"):
        Marbles(tick=0)


def test_one_run_follows_another(marbles: Marbles) -> None:
    for _ in range(2):
        marbles.publish("-a")
        marbles.expect(marbles.hub.on("topic=a").pipe(ops.map(lambda event: event.topic)), "^-!").to_be("-a")
        marbles.run()


def failure(marbles: Marbles) -> str:
    with pytest.raises(AssertionError) as raised:
        marbles.run()
    return str(raised.value)


def deep(last: object) -> Event:
    return Event("t", id="1", data={"deep": {"x": [1, 2, {"y": last}]}})


def test_values_that_look_the_same_are_told_apart() -> None:
    marbles = Marbles()
    marbles.expect(marbles.cold("a", {"a": deep(1)})).to_be("a", {"a": deep(2)})
    assert "            unlike a, at data.deep.x[2].y: 1, not 2" in failure(marbles)


def test_events_are_told_apart_by_their_ids() -> None:
    marbles = Marbles()
    marbles.expect(marbles.cold("a", {"a": Event("t", id="1")})).to_be("a", {"a": Event("t", id="2")})
    assert "at id: '1', not '2'" in failure(marbles)


@pytest.mark.parametrize(
    ("found", "wanted", "difference"),
    [
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 6], "at [4]: 5, not 6"),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6], "at [5]: nothing, not 6"),
        ({"a b": {"c": {"d": {"e": 1}}}}, {"a b": {"c": {"d": {}}}}, "at ['a b'].c.d: {'e': 1}, not {}"),
        ("x" * 200 + "left", "x" * 200 + "right", f"as a whole[190:]: '{'x' * 10}left', not '{'x' * 10}right'"),
        ([1, 2, 3, 4, "x"], [1, 2, 3, 4, b"x"], "at [4]: 'x', not b'x'"),
    ],
)
def test_the_place_of_a_difference_is_shown(found: object, wanted: object, difference: str) -> None:
    marbles = Marbles()
    marbles.expect(marbles.cold("a", {"a": found})).to_be("a", {"a": wanted})
    assert f"unlike a, {difference}" in failure(marbles)


def test_secrets_are_not_shown() -> None:
    def with_key(key: str) -> Event:
        return Event("t", id="1", data={"api_key": key, "fields": [{"name": "token", "value": key}]})

    marbles = Marbles()
    marbles.expect(marbles.cold("a", {"a": with_key("geheim")})).to_be("a", {"a": with_key("anders")})
    text = failure(marbles)
    assert "at data.api_key: a different ***" in text
    assert "at data.fields[0].value: a different ***" in text
    assert "geheim" not in text
    assert "anders" not in text


def test_an_expectation_says_what_is_to_come() -> None:
    marbles = Marbles()
    marbles.expect(marbles.hub.on("topic=a"))
    assert "expect(<events of 'topic=a'" in failure(marbles)
    with marbles:
        marbles.expect(marbles.hub.on("topic=a")).to_be("")


def test_a_bare_letter_is_what_was_published_under_it(marbles: Marbles) -> None:
    marbles.publish("a--b")
    marbles.publish("---b")
    notes = marbles.hub.on("topic=b")
    marbles.expect(notes).to_be("---(bb)")
    marbles.expect(notes.pipe(ops.map(lambda event: event.topic))).to_be("---(bb)")
    marbles.expect(notes, "----^").to_be("")
    marbles.run()
    marbles.publish("b", {"b": NOTE})
    marbles.expect(marbles.hub.on("topic=studio.*")).to_be("b")
    marbles.run()
    marbles.publish("a-b")
    marbles.expect(marbles.hub.on("")).to_be("b-a")
    assert "  expected  b-a\n  found     a-b\n" in failure(marbles)


def test_no_source_has_a_moment_0_that_it_cannot_have() -> None:
    marbles = Marbles()
    for write in (lambda: marbles.hot("^-^-a"), lambda: marbles.cold("-^-a"), lambda: marbles.publish("-^-a")):
        with pytest.raises(ValueError, match="Invalid marble diagram"):
            write()


def test_what_is_no_observable_is_refused_at_once() -> None:
    marbles = Marbles()
    with pytest.raises(TypeError, match="but 5 was given"):
        marbles.expect(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"marbles\.hot"):
        marbles.expect_subscriptions(marbles.hub.on(""), "^")  # type: ignore[arg-type]


def test_an_observable_that_cannot_be_subscribed_to_fails() -> None:
    def refuse(*_: object) -> Disposable:
        raise LookupError("gone")

    with Marbles() as marbles:
        marbles.expect(Observable(refuse)).to_be("#", error=LookupError("gone"))


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise LookupError("neither here nor there")

    __hash__ = None  # type: ignore[assignment]


def test_values_that_cannot_be_compared_are_named() -> None:
    one = Incomparable()
    with Marbles() as marbles:
        marbles.expect(marbles.cold("--a", {"a": one})).to_be("--a", {"a": one})
    marbles.expect(marbles.cold("--a", {"a": one})).to_be("--a", {"a": Incomparable()})
    text = failure(marbles)
    assert "at 2 s, Z cannot be compared with a: LookupError: 'neither here nor there'" in text


def test_a_stream_without_an_end_is_shown_in_short() -> None:
    marbles = Marbles()
    marbles.expect(reactivex.interval(1.0)).to_be("-a", {"a": 0})
    text = failure(marbles)
    assert len(text) < 1_000
    assert "… and 3,562 more frames" in text
    assert "    … and 3,590 more frames" in text


def test_the_difference_is_shown_wherever_it_is() -> None:
    marbles = Marbles()
    marbles.expect(marbles.cold("a" * 100 + "b")).to_be("a" * 100 + "c")
    text = failure(marbles)
    assert "… 97 frames as expected" in text
    assert "-      100 s  c" in text


@pytest.mark.parametrize(
    ("diagram", "values", "found", "told"),
    [
        ("-1-|", None, 1, ["1 = '1'", "Z = 1"]),
        ("-a-|", {"a": 1}, "1", ["a = 1", "1 = '1'"]),
        ("-a-|", {"a": "1"}, 1, ["a = '1'", "Z = 1"]),
        ("-1-|", {"1": 1}, "1", ["1 = 1", "Z = '1'"]),
        ("-a-|", {"a": 1}, b"1", ["a = 1", "Z = b'1'"]),
        ("-a-|", {"a": None}, "None", ["a = None", "Z = 'None'"]),
        ("-a-|", {"a": "True"}, True, ["a = 'True'", "Z = True"]),
        ("-a-|", {"a": 1.5}, "1.5", ["a = 1.5", "Z = '1.5'"]),
        ("-a-|", {"a": [1]}, ["1"], ["a = [1]", "Z = ['1']"]),
        ("-a-|", {"a": {"x": 1}}, {"x": "1"}, ["a = {'x': 1}", "Z = {'x': '1'}"]),
    ],
)
def test_values_of_other_types_that_look_alike_are_shown_differently(diagram, values, found, told) -> None:
    marbles = Marbles()
    marbles.expect(marbles.cold("-x-|", {"x": found})).to_be(diagram, values)
    with pytest.raises(AssertionError) as raised:
        marbles.run()
    legend = [line.removeprefix("  where").strip() for line in str(raised.value).splitlines() if " = " in line]
    assert sorted(legend) == sorted(told)


def test_a_character_shows_what_it_stands_for_beside_a_value_that_looks_like_it() -> None:
    class Named:
        def __repr__(self) -> str:
            return "x"

    marbles = Marbles()
    marbles.expect(marbles.cold("-a-|", {"a": Named()})).to_be("-x-|")
    with pytest.raises(AssertionError, match=r"x = 'x'") as raised:
        marbles.run()
    assert "Z = x" in str(raised.value)
