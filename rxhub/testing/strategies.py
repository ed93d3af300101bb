"""Hypothesis strategies for events and subscriptions.

A random subscription rarely matches a random event. `events_matching(expression)` generates events that match a
subscription, and `expressions_matching(candidate)` generates subscriptions that match an event, without discarding
examples.

    @given(events_matching("topic=ftrack.update and not data.entities.action=remove"))
    def test_every_update_is_shown(event): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, cast

from rxhub.text.extras import missing_dependency

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise missing_dependency(error, "rxhub.testing.strategies", "testing") from None

from rxhub.errors import ExpressionError
from rxhub.event import Event
from rxhub.expression import And, Condition, Dialect, Expression, Not, Or, parse
from rxhub.expression.comparisons import OPERATORS
from rxhub.testing import sample_events as studio
from rxhub.testing.matching import MatchingEvents
from rxhub.testing.recording import Recording
from rxhub.text.safe_repr import safe_repr

__all__ = ["candidates", "event_streams", "events", "events_matching", "expressions", "expressions_matching", "topics"]

_OPERATORS = tuple(OPERATORS)
_MAX_LEAVES = 200
_REPLY = "ftrack.meta.reply"
_MAX_LEVELS = 16

_turns = st.integers(0, (1 << 16) - 1)


@cache
def _indices(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, count - 1)


@cache
def _fields_of(topics: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(topics).flatmap(studio.envelopes)


def topics() -> st.SearchStrategy[str]:
    """Topics of ftrack and of a studio, and random dotted names."""
    names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8)
    return st.sampled_from(studio.TOPICS) | st.lists(names, min_size=1, max_size=4).map(".".join)


def events(topic: st.SearchStrategy[str] | str | None = None) -> st.SearchStrategy[Event]:
    """Events with the topics and data of ftrack and a studio.

    `topic` is a topic or a strategy for topics, which determines the data. Default: the known topics.
    """
    if topic is not None and not isinstance(topic, (str, st.SearchStrategy)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f'events() accepts a topic, "ftrack.update", or a strategy for topics, but {safe_repr(topic)} was given. '
            "Use events_matching(…) for events that match a subscription."
        )
    drawn = st.just(topic) if isinstance(topic, str) else topic
    return (st.sampled_from(studio.TOPICS) if drawn is None else drawn).flatmap(studio.envelopes).map(_event)


def _event(fields: Mapping[str, Any]) -> Event:
    event = Event(str(fields.get("topic", "")))
    for key, value in fields.items():
        event[key] = value
    for key in ("data", "source", "sent"):
        # A missing key differs from null in subscriptions.
        if key not in fields:
            del event[key]
    return event


def candidates() -> st.SearchStrategy[dict[str, Any]]:
    """Nested mappings that an expression can be tested against: events and other JSON objects."""
    values = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
    )
    keys = st.sampled_from(("id", "name", "user", "data", "tags", "version")) | st.text(
        "abc_-é", min_size=1, max_size=3
    )
    nested = st.recursive(
        values, lambda below: st.lists(below, max_size=3) | st.dictionaries(keys, below, max_size=3), max_leaves=8
    )
    return events().map(lambda event: dict(event.fields)) | st.dictionaries(keys, nested, max_size=5)


def _conditions(dialect: Dialect) -> st.SearchStrategy[Expression]:
    def of(key: str, value: str, operator: str, wildcard: int) -> Condition:
        if wildcard and operator == "=":
            half = value[: len(value) // 2 + 1]
            value = (half + "*", "*" + value[len(half) - 1 :], "*")[wildcard - 1] if len(value) > 1 else "*"
        return _condition(key, operator, value, dialect)

    return st.sampled_from(studio.keys_and_values).flatmap(
        lambda known: st.builds(
            of,
            st.just(known[0]),
            st.sampled_from(known[1]),
            st.sampled_from(tuple(OPERATORS)) | st.just("="),
            st.integers(0, 3),
        )
    )


def _condition(key: str, operator: str, value: str, dialect: Dialect, quoted: bool = False) -> Condition:
    """A condition, quoted if necessary."""
    try:
        return Condition(key, operator, value, quoted, dialect)
    except ExpressionError:
        return Condition(key, operator, value, True, dialect)


def _memberships(dialect: Dialect) -> st.SearchStrategy[Expression]:
    return st.sampled_from([known for known in studio.keys_and_values if len(known[1]) > 1]).flatmap(
        lambda known: st.lists(st.sampled_from(known[1]), min_size=2, max_size=3, unique=True).map(
            lambda values: Or([_condition(known[0], "=", value, dialect) for value in values])
        )
    )


def expressions(dialect: Dialect = Dialect.RXHUB) -> st.SearchStrategy[Expression]:
    """Subscriptions over the fields of real events, including contradictory ones."""

    def joined(nodes: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
        children = st.lists(nodes, min_size=2, max_size=3)
        return st.one_of(children.map(And), children.map(Or), nodes.map(Not))

    return st.recursive(_conditions(dialect) | _memberships(dialect), joined, max_leaves=6)


def events_matching(expression: Expression | str) -> st.SearchStrategy[Event]:
    """Events that match a subscription; fields that it does not mention have realistic values.

    They are events as received; a hub that publishes one fills in missing `source.id`, `source.user` and `source.host`.
    Raises `Undecided` at once if no event was found; the message names the conditions that no value meets.
    """
    if not isinstance(expression, (str, Expression)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            "events_matching() accepts a subscription, as a string or from rxhub.expression.parse(…), but "
            f"{safe_repr(expression)} was given."
        )
    matching = MatchingEvents(parse(expression) if isinstance(expression, str) else expression)

    @st.composite
    def drawn(draw: st.DrawFn) -> Event:
        demands = matching.demands(draw(_turns))
        # A reply is addressed to the hub that asked, so it is generated only for subscriptions to replies.
        fitting = [topic for topic in studio.TOPICS if matching.accepts_topic(topic, demands)]
        likely = [topic for topic in fitting if topic != _REPLY] or fitting or ["studio.review.note"]
        base = draw(_fields_of(tuple(likely)))
        return _event(matching.fields(base, demands, lambda count: draw(_indices(count))))

    return drawn()


def expressions_matching(
    candidate: Mapping[str, Any], dialect: Dialect = Dialect.RXHUB
) -> st.SearchStrategy[Expression]:
    """Subscriptions that match a candidate, an event or any nested mapping."""
    leaves = list(_leaves(candidate))
    about = st.sampled_from(leaves).flatmap(lambda leaf: _about(leaf, dialect)) if leaves else _conditions(dialect)

    def right(node: Expression, wanted: bool) -> Expression:
        return node if node.matches(candidate) is wanted else Not(node)

    true = (about | _conditions(dialect)).map(lambda node: right(node, True))
    either = about | _conditions(dialect)

    def joined(nodes: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
        return st.one_of(
            st.lists(nodes, min_size=2, max_size=3).map(And),
            st.tuples(nodes, either).map(Or),
            st.tuples(either, nodes).map(Or),
            st.tuples(nodes, either).map(lambda t: Not(And((right(t[1], False), t[0])))),
            st.tuples(nodes, either).map(lambda t: Not(Not(t[0]))),
        )

    return st.recursive(true, joined, max_leaves=6)


def _leaves(candidate: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """The valid keys of a candidate with their values as text, and whether the value is a string; bounded."""
    waiting: list[tuple[str, Any, int]] = [("", candidate, 0)]
    found = 0
    while waiting and found < _MAX_LEAVES:
        path, value, level = waiting.pop(0)
        if level > _MAX_LEVELS:
            continue
        if isinstance(value, Mapping):
            for key, below in cast("Mapping[Any, Any]", value).items():
                if type(key) is str and "." not in key:
                    waiting.append((f"{path}.{key}" if level else key, below, level + 1))
        elif isinstance(value, (list, tuple)):
            waiting += [(path, item, level + 1) for item in cast("list[Any]", value)[:10]]
        elif _is_key(path):
            found += 1
            yield path, _written(value), isinstance(value, str)


def _written(value: Any) -> str:
    if value is None or type(value) is bool:
        return {None: "null", True: "true", False: "false"}[value]
    try:
        return str(value)
    except Exception:  # such as an integer of 5,000 digits
        return "*"


def _is_key(path: str) -> bool:
    try:
        Condition(path, "=", "1")
    except ExpressionError:
        return False
    return True


def _about(leaf: tuple[str, str, bool], dialect: Dialect) -> st.SearchStrategy[Expression]:
    """Conditions on the value of a key, most of which hold."""
    key, text, is_text = leaf
    operators = st.sampled_from(tuple(OPERATORS)) | st.just("=")

    def of(operator: str, begin: int, end: int, shape: int) -> Expression:
        begin, end, quoted = min(begin, end), max(begin, end), begin > end
        shapes = (text, text[:end] + "*", "*" + text[begin:], f"*{text[begin:end]}*", "*")
        literal = shapes[shape if operator == "=" else 0]
        try:
            return _condition(key, operator, literal, dialect, quoted and is_text)
        except ExpressionError:
            # No literal can express it.
            return Condition(key, "=", "*", False, dialect)

    places = st.integers(0, len(text))
    return st.builds(of, operators, places, places, st.integers(0, 4))


def event_streams(
    of: st.SearchStrategy[Event] | None = None, min_size: int = 0, max_size: int = 20
) -> st.SearchStrategy[Recording]:
    """Recordings with bursts, pauses and replies to earlier events; `of` generates the events."""
    gaps = st.sampled_from((0.0, 0.001, 0.05, 1.0)) | st.integers(0, 3_600).map(float)

    @st.composite
    def drawn(draw: st.DrawFn) -> Recording:
        seconds = 0.0
        recording = Recording()
        earlier: list[Event] = []
        for gap, event in draw(st.lists(st.tuples(gaps, of or events()), min_size=min_size, max_size=max_size)):
            seconds = round(seconds + gap, 6)
            if of is None and event.topic == _REPLY and earlier:
                asked = draw(st.sampled_from(earlier))
                event.in_reply_to_event, event.target = asked.id, f"id={asked.source['id']}"
            recording.add(seconds, event)
            earlier.append(event)
        return recording

    return drawn()
