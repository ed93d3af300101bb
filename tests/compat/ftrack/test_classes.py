"""Events, expressions, subscriptions, subscribers and errors behave like ftrack's."""

from __future__ import annotations

import copy
import inspect
import operator
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import rxhub
from rxhub import errors
from tests.compat.ftrack.judged import BOTH, OURS, THEIRS
from tests.expression.test_against_ftrack import NUMERALS, QUOTED, WILDCARDS, WORDS, strings, texts, trees_of

WILD = (Path(__file__).parents[2] / "data" / "expressions.txt").read_text(encoding="utf-8").splitlines()

fields = st.fixed_dictionaries(
    {"topic": st.sampled_from(["a", "ftrack.update"])},
    optional={
        "id": st.sampled_from(["1", "", None]),
        "data": st.sampled_from([None, {}, {"a": 1}, [], [1], 0, False, "x"]),
        "sent": st.sampled_from([None, "now"]),
        "source": st.sampled_from([None, {}, {"id": "s"}]),
        "target": st.sampled_from(["", "id=x"]),
        "in_reply_to_event": st.sampled_from([None, "e"]),
    },
)


class TestEvents:
    @given(fields)
    def test_hold_and_print_the_same(self, given: dict[str, Any]) -> None:
        theirs, ours = THEIRS.Event(**given), OURS.Event(**given)
        assert len(ours["id"]) == len(theirs["id"])
        theirs["id"] = ours["id"] = "1"
        assert ours._data == theirs._data
        assert str(ours) == str(theirs)
        assert dict(ours) == dict(theirs)

    def test_are_rxhub_s_and_take_attributes_and_keys_of_one_s_own(self) -> None:
        event = OURS.Event("a", data={"x": 1})
        event.note, event["more"] = "mine", 2
        event._data["topic"] = "b"
        assert isinstance(event, rxhub.Event)
        assert (event.topic, event["more"], event.note) == ("b", 2, "mine")
        for twin in (copy.copy(event), copy.deepcopy(event), pickle.loads(pickle.dumps(event))):
            assert type(twin) is OURS.Event and twin == event and twin.note == "mine"

    def test_around_one_of_ftrack_s_share_its_dict(self) -> None:
        theirs = THEIRS.Event("a")
        ours = OURS.Event.of(theirs)
        ours["data"] = {"x": 1}
        assert theirs["data"] == {"x": 1}
        assert OURS.Event.of(ours) is ours


class TestExpressions:
    @pytest.mark.parametrize("text", WILD)
    def test_of_the_wild_print_as_theirs(self, text: str) -> None:
        theirs, ours = (side.Parser().parse(text) for side in BOTH)
        assert str(ours) == str(theirs)

    @given(texts(WORDS + WILDCARDS + NUMERALS + QUOTED), trees_of(strings))
    def test_print_and_match_as_theirs(self, text: str, candidate: dict[str, Any]) -> None:
        theirs, ours = (side.Parser().parse(text) for side in BOTH)
        assert str(ours) == str(theirs)
        try:
            expected = theirs.match(candidate)
        except Exception:
            assume(False)
        assert ours.match(candidate) is expected
        assert OURS.Subscription(text).includes(candidate) is expected

    @given(
        st.sampled_from([operator.eq, operator.ne, operator.ge, operator.le, operator.gt, operator.lt, "="]),
        st.sampled_from(["a", "b.c", "x.y.z"]),
        st.sampled_from([10, 9.5, "10", "a*", "*", "", None, [1]]),
        trees_of(strings | st.none() | st.integers(0, 10)),
    )
    def test_built_by_hand_match_as_theirs_where_theirs_do_not_raise(
        self, sign: Any, key: str, value: Any, candidate: dict[str, Any]
    ) -> None:
        theirs, ours = (side.Condition(key, sign, value) for side in BOTH)
        assert str(ours) == str(theirs)
        try:
            expected = bool(theirs.match(candidate))
        except Exception:
            expected = False
        assert ours.match(candidate) is expected

    def test_of_a_program_s_own_nest(self) -> None:
        for side in BOTH:

            class Own(side.Expression):
                def match(self, candidate: Any) -> bool:
                    return candidate == 1

            tree = side.All([side.Any([Own(), side.Not(side.Expression())]), side.Expression()])
            assert str(tree) == "<All [<Any [<Own> <Not <Expression>>]> <Expression>]>"
            assert tree.match(1) is True and tree.match(2) is False
            assert side.All().match(1) is True and side.Any().match(1) is False

    @pytest.mark.parametrize("text", ["invalid", "key=value nor other=value", "a==b", "(a=b", "{topic=a", "a=b and"])
    def test_that_are_none_are_refused_in_the_same_words(self, text: str) -> None:
        for side in BOTH:
            with pytest.raises(side.exception.ParseError) as caught:
                side.Subscription(text)
            assert caught.value.message.startswith(f"Failed to parse: {text}. ")
        assert str(caught.value) and isinstance(caught.value, errors.ExpressionError)
        assert caught.value.text == text

    def test_empty_matches_all(self) -> None:
        assert OURS.Subscription("").includes({"a": 1}) is True


def test_subscribers_print_and_look_as_theirs() -> None:
    for metadata in ({"meta": "info"}, {"id": "x"}):
        theirs, ours = (side.Subscriber("topic=a*", print, metadata, 7) for side in BOTH)
        assert str(ours) == str(theirs)
        assert (ours.callback, ours.metadata, ours.priority) == (print, metadata, 7) and ours.metadata is metadata
        assert str(ours.subscription) == str(theirs.subscription)
        for topic in ("ba", "b"):
            assert ours.interested_in(OURS.Event(topic)) is theirs.interested_in(THEIRS.Event(topic))


class TestErrors:
    @pytest.mark.parametrize("name", [name for name in OURS.exception.__all__ if name != "inherit_from"])
    def test_have_theirs_message_and_details(self, name: str) -> None:
        theirs, ours = (getattr(side.exception, name) for side in BOTH)
        assert inspect.signature(ours) == inspect.signature(theirs) or list(inspect.signature(ours).parameters) == [
            "message",
            "details",
        ]
        for arguments in ((), ("text",), ("a {n} b", {"n": 1}), ("text", None)):
            expected, found = theirs(*arguments), ours(*arguments)
            assert (str(found), found.message, found.details) == (str(expected), expected.message, expected.details)
        assert pickle.loads(pickle.dumps(found)).message == "text"

    def test_quote_braces_that_name_nothing(self) -> None:
        assert str(OURS.exception.Error("{x} {0} {")) == "{x} {0} {"

    def test_are_caught_as_rxhub_s_and_as_each_other_s(self) -> None:
        x = OURS.exception
        assert issubclass(x.EventHubConnectionError, (x.EventHubError, x.Error))
        assert issubclass(x.EventHubConnectionError, errors.HubConnectionError)
        assert issubclass(x.NotUniqueError, errors.NotUniqueError)
        assert issubclass(x.NotFoundError, errors.NotFoundError)

    def test_of_other_things_are_ftrack_s_own(self) -> None:
        assert OURS.exception.LocationError is THEIRS.exception.LocationError
        with pytest.raises(AttributeError):
            OURS.exception.Nonsense
