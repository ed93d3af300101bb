"""The index finds what a loop over all expressions would find, in order, each once."""

from __future__ import annotations

import gc
import json
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from rxhub.errors import ExpressionError, NotFoundError
from rxhub.event import Event
from rxhub.expression import And, Condition, Dialect, Everything, Expression, Not, Or, parse, residual
from rxhub.expression.index import Index
from rxhub.expression.index_tree import Node, Token
from tests.expression.subscriptions import Text, Unwilling, Version, candidates, trees

DATA = Path(__file__).parent.parent / "data"


class Loop:
    """The oracle: every expression is asked."""

    def __init__(self) -> None:
        self.added: dict[Token, tuple[int, int, Expression]] = {}
        self.count = 0

    def add(self, token: Token, expression: Expression, priority: int) -> int:
        self.added[token] = (priority, self.count, expression)
        return self.count

    def match(self, candidate: object) -> list[int]:
        return [
            order for _, order, tree in sorted(self.added.values(), key=lambda one: one[:2]) if tree.matches(candidate)
        ]


class IndexAgainstLoop(RuleBasedStateMachine):
    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.index: Index[int] = Index()
        self.loop = Loop()

    def put(self, tree: Expression | str, priority: int, dialect: Dialect = Dialect.RXHUB) -> Token:
        token = self.index.add(tree, self.loop.count, priority, dialect=dialect)
        self.loop.add(token, parse(tree, dialect) if isinstance(tree, str) else tree, priority)
        self.loop.count += 1
        return token

    @rule(target=tokens, tree=st.sampled_from(Dialect).flatmap(trees), priority=st.sampled_from([100, 100, 1, -5]))
    def add(self, tree: Expression, priority: int) -> Token:
        return self.put(tree, priority)

    @rule(target=tokens, tree=trees(Dialect.FTRACK))
    def add_text(self, tree: Expression) -> Token:
        return self.put(str(tree), 100, Dialect.FTRACK)

    @rule(target=tokens, trees=st.lists(trees(Dialect.RXHUB), min_size=8, max_size=8), topic=st.sampled_from("xy"))
    def add_many_to_one_topic(self, trees: list[Expression], topic: str) -> Any:
        on_topic = Condition("topic", "=", topic)
        two_fold = [on_topic if tree == Everything() else And((on_topic, tree)) for tree in trees]
        users = [And((on_topic, Condition("source.user.username", "=", f"x{number}"))) for number in range(30)]
        return multiple(*[self.put(tree, 100) for tree in [*two_fold, *users]])

    @rule(token=consumes(tokens))
    def remove(self, token: Token) -> None:
        self.index.remove(token)
        del self.loop.added[token]
        with pytest.raises(NotFoundError):
            self.index.remove(token)

    @rule(candidate=candidates())
    def match(self, candidate: object) -> None:
        matched = self.index.match(candidate)
        assert isinstance(matched, tuple)
        assert list(matched) == self.loop.match(candidate)
        assert self.index.match(candidate) == matched  # the first match makes what the second finds ready

    @rule()
    def match_what_is_common(self) -> None:
        for topic in "xy":
            for user in ("x1", "xy", 10, True, None, ["x", "x2"], Decimal(1)):
                self.match({"topic": topic, "a": {"b": user}, "source": {"user": {"username": user}}, "n": user})

    @invariant()
    def holds_as_many(self) -> None:
        assert len(self.index) == len(self.loop.added)

    def teardown(self) -> None:
        for token in self.loop.added:
            self.index.remove(token)
        assert_is_like_new(self.index)


TestIndexAgainstLoop = IndexAgainstLoop.TestCase
TestIndexAgainstLoop.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)


def assert_is_like_new(index: Index[Any]) -> None:
    root = index._root
    assert len(index) == 0
    assert root.is_empty
    assert len(root.residuals) == 0
    assert [len(field) for field in root.scan] == [0]


@given(st.lists(trees(Dialect.RXHUB), max_size=12), st.lists(trees(Dialect.FTRACK), max_size=4), candidates())
def test_matches_what_a_loop_matches(ours: list[Expression], theirs: list[Expression], candidate: object) -> None:
    index: Index[int] = Index()
    both = [*ours, *theirs]
    for number, tree in enumerate(both):
        index.add(tree, number)
    assert list(index.match(candidate)) == [number for number, tree in enumerate(both) if tree.matches(candidate)]


def events() -> Iterator[dict[str, Any]]:
    with (DATA / "events.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


@pytest.mark.parametrize("dialect", Dialect)
def test_real_subscriptions_match_real_events_as_in_a_loop(dialect: Dialect) -> None:
    trees = [parse(text, dialect) for text in (DATA / "expressions.txt").read_text(encoding="utf-8").splitlines()]
    index: Index[int] = Index()
    for number, tree in enumerate(trees):
        index.add(tree, number)
    matched = 0
    for payload in events():
        for candidate in (payload, Event.from_wire(payload)):
            expected = [number for number, tree in enumerate(trees) if tree.matches(candidate)]
            assert list(index.match(candidate)) == expected
            matched += len(expected)
    assert len(trees) == 71
    assert matched > 2_000


def filled(*texts: str) -> Index[str]:
    index: Index[str] = Index()
    for text in texts:
        index.add(text, text)
    return index


def test_lowest_priority_comes_first_then_what_was_added_first() -> None:
    index: Index[str] = Index()
    index.add("topic=a", "second")
    index.add("topic=a and n=1", "third")
    index.add("topic=*", "first", priority=10)
    index.add("topic=a", "fourth")
    index.add("n=1", "last", priority=101)
    assert index.match({"topic": "a", "n": 1}) == ("first", "second", "third", "fourth", "last")


def test_what_was_added_by_turns_comes_by_turns() -> None:
    index: Index[int] = Index()
    for number in range(6):
        index.add(f"topic=a and n != {number % 2}", number)
    for _ in range(2):  # the first match makes what the second finds ready
        assert index.match({"topic": "a", "n": 7}) == (0, 1, 2, 3, 4, 5)
        assert index.match({"topic": "a", "n": 1}) == (0, 2, 4)


def test_entries_are_neither_compared_nor_hashed() -> None:
    index: Index[Unwilling] = Index()
    entries = [Unwilling() for _ in range(3)]
    for entry in entries:
        index.add("a=1 or b=1", entry)
    matched = index.match({"a": 1, "b": 1})
    assert [id(entry) for entry in matched] == [id(entry) for entry in entries]


@pytest.mark.parametrize(
    "text",
    [
        "topic=a or topic=a",
        "topic in (a, b)",
        "topic=a or n=1",
        "(topic=a and n=1) or (topic=a and m=2)",
        "(topic=a or topic=b) and (n=1 or m=2)",
        "topic=a* or topic=a",
        "n >= 1 or n < 5 or topic=a",
    ],
)
def test_an_entry_that_matches_by_several_conditions_comes_once(text: str) -> None:
    index = filled(text, "topic=a")
    for _ in range(2):
        assert index.match({"topic": ["a", "b"], "n": 1, "m": 2}) == (text, "topic=a")
        assert index.match({"topic": "a", "n": 1, "m": 2}) == (text, "topic=a")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("1", ["n=1", "n='1'", "n >= 1", "n <= '1'"]),
        (1, ["n=1", "n=1.0", "n >= 1"]),
        (1.0, ["n=1", "n=1.0", "n >= 1"]),
        (True, ["n=true"]),
        ("true", ["n=true", "n='true'", "n >= 1"]),
        (None, ["n=null"]),
        (Decimal(1), ["n=1", "n=1.0", "n >= 1"]),
        (Text("1"), ["n=1", "n='1'", "n >= 1", "n <= '1'"]),
        (Version(1), ["n=1", "n='1'", "n >= 1"]),
        (float("nan"), []),
        (2**53 + 1, ["n=9007199254740993", "n >= 1"]),
        (2**53, ["n >= 1"]),
        (float(2**53), ["n >= 1"]),
        (10**400, ["n >= 1"]),
        ([True, 1], ["n=1", "n=1.0", "n=true", "n >= 1"]),
        ([[["1"]], ("true",)], ["n=1", "n='1'", "n=true", "n='true'", "n >= 1", "n <= '1'"]),
        ({"1": "1"}, []),
        (b"1", []),
        (Unwilling(), []),
    ],
)
def test_a_value_is_found_under_what_it_equals(value: object, found: list[str]) -> None:
    texts = ["n=1", "n='1'", "n=1.0", "n=true", "n='true'", "n=null", "n=9007199254740993", "n >= 1", "n <= '1'"]
    index = filled(*texts)
    assert list(index.match({"n": value})) == found
    assert list(index.match({"n": value})) == [text for text in texts if parse(text).matches({"n": value})]


def test_an_event_of_a_type_of_its_own_is_an_event() -> None:
    class Special(Event):
        __slots__ = ()

    assert filled("topic=a and data.n=1").match(Special("a", data={"n": 1})) == ("topic=a and data.n=1",)


@pytest.mark.parametrize(
    "candidate", [None, 5, "topic", [], [[]], {}, {"topic": None}, {"topic": []}, object(), Unwilling(), Event("")]
)
def test_what_is_no_event_matches_what_it_matches(candidate: object) -> None:
    assert filled("topic=a", "", "not topic=a", "topic=a*").match(candidate) == ("", "not topic=a")


def test_keys_of_the_candidate_that_refuse_to_be_compared_are_missing() -> None:
    class Key:
        def __hash__(self) -> int:
            return hash("topic")

        def __eq__(self, other: object) -> bool:
            raise ValueError("not with me")

    assert filled("topic=a").match({Key(): "a"}) == ()
    assert filled("topic=a", "").match({Key(): "a"}) == ("",)


def test_a_tree_serves_as_well_as_its_text() -> None:
    index: Index[int] = Index()
    index.add(parse("topic=a*", Dialect.FTRACK), 1)
    index.add("topic=a*", 2, dialect=Dialect.FTRACK)
    index.add("topic=a*", 3)
    assert index.match({"topic": "ba"}) == (1, 2)
    assert index.match({"topic": "ab"}) == (1, 2, 3)


def test_a_text_that_is_no_subscription_is_refused_and_leaves_nothing() -> None:
    index: Index[int] = Index()
    with pytest.raises(ExpressionError):
        index.add("topic==a", 1)
    assert_is_like_new(index)


@pytest.mark.parametrize("priority", [None, "high", float("nan")])
def test_a_priority_that_has_no_order_is_refused(priority: Any) -> None:
    with pytest.raises(TypeError, match="priority"):
        Index[int]().add("topic=a", 1, priority)


@pytest.mark.parametrize("stranger", [None, 0, object()])
def test_removing_what_is_not_there_says_so(stranger: Any) -> None:
    with pytest.raises(NotFoundError, match="is not in this index"):
        filled("topic=a").remove(stranger)


def test_the_token_of_another_index_removes_nothing() -> None:
    one, other = filled("topic=a"), Index[str]()
    token = other.add("topic=a", "theirs")
    with pytest.raises(NotFoundError):
        one.remove(token)
    assert len(one) == len(other) == 1


def test_a_match_is_a_snapshot_that_callbacks_may_unsubscribe_from() -> None:
    index: Index[int] = Index()
    tokens = [index.add("topic=a", number) for number in range(5)]
    matched = index.match({"topic": "a"})
    called: list[int] = []
    for entry in matched:
        called.append(entry)
        index.remove(tokens[entry])
        index.add("topic=a", 10 + entry)
    assert called == [0, 1, 2, 3, 4]
    assert matched == (0, 1, 2, 3, 4)
    assert index.match({"topic": "a"}) == (10, 11, 12, 13, 14)


def test_sharing_a_residual_returns_the_same_tuple_each_time() -> None:
    index = filled(*["topic=a and n=1"] * 10)
    assert index.match({"topic": "a", "n": 1}) is index.match({"topic": "a", "n": 1})


def many(count: int) -> list[Expression]:
    """Subscriptions of every form to one topic, each naming one of seven users."""
    texts = [
        "topic=t and user=u{u}",
        "topic=t and user=u{u} and n >= {n}",
        "topic=t and user=u{u} and (n=1 or host=h{h})",
        "topic=t and (user=u{u} or user=v{n})",
        "topic=t and user=u{u} and name=x{n}*",
        "topic=t and user=u{u} and not host=h{h}",
        "topic=t and user=u{u} and n > {h} and n <= {n}",
        "not user=u{u} and topic in (t, s{h})",
    ]
    return [
        parse(texts[number * 7 // 3 % len(texts)].format(u=number % 7, n=number, h=number % 11))
        for number in range(count)
    ]


def test_many_subscriptions_on_one_topic_match_as_in_a_loop_while_they_come_and_go() -> None:
    index: Index[int] = Index()
    trees = many(400)
    tokens = [index.add(tree, number) for number, tree in enumerate(trees)]
    candidates = [
        {"topic": topic, "user": user, "n": n, "host": host, "name": f"x{n}y"}
        for topic in ("t", "s3")
        for user in ("u0", ["u1", "u2"], Text("u3"), "v5", None)
        for n in (1, 150.5, "17")
        for host in ("h3", "h4")
    ]
    there = set(range(len(trees)))
    for removed in (range(0, 400, 2), range(1, 400, 4), range(3, 400, 4)):
        for candidate in candidates:
            assert list(index.match(candidate)) == [n for n in sorted(there) if trees[n].matches(candidate)]
        for number in removed:
            index.remove(tokens[number])
        there -= set(removed)
    assert not there
    assert_is_like_new(index)


@pytest.fixture
def tested(monkeypatch: pytest.MonkeyPatch) -> list[Expression]:
    """The residuals that were tested, one item for each time."""
    asked: list[Expression] = []

    def compile_tree(tree: Expression) -> Callable[[object], bool]:
        def test(candidate: object) -> bool:
            asked.append(tree)
            return tree.matches(candidate)

        return test

    monkeypatch.setattr(residual, "compile_tree", compile_tree)
    return asked


@pytest.mark.parametrize(
    ("text", "candidate"),
    [
        ("topic=t{n} and m=1", {"topic": "t77", "m": 1}),
        ("topic=t and user=u{n}", {"topic": "t", "user": "u77"}),
        ("topic=t and user=u{n} and m != 1", {"topic": "t", "user": "u77", "m": 2}),
        ("topic=t and app=a and user=u{n}", {"topic": "t", "app": "a", "user": "u77"}),
        ("topic=t and (user=u{n} or user=v{n}) and m=1", {"topic": "t", "user": ["u77", "v77"], "m": 1}),
        ("topic=t and name=n{n}-*", {"topic": "t", "name": "n77-1"}),
        ("topic=t and n >= {n}.5 and m=*", {"topic": "t", "n": 1, "m": 1}),
        ("app=a and user=u{n}", {"app": "a", "user": "u77"}),
        ("topic=t.* and app=a and user=u{n}", {"topic": "t.x", "app": "a", "user": "u77"}),
    ],
)
def test_an_event_tests_little_more_than_what_it_matches(
    tested: list[Expression], text: str, candidate: dict[str, Any]
) -> None:
    index: Index[int] = Index()
    trees = [parse(text.format(n=number)) for number in range(1_000)]
    for number, tree in enumerate(trees):
        index.add(tree, number)
    assert list(index.match(candidate)) == [number for number, tree in enumerate(trees) if tree.matches(candidate)]
    assert len(tested) <= 17  # a bucket is left flat up to a few rows


def test_equal_residuals_are_tested_once(tested: list[Expression]) -> None:
    index = filled(*["topic=a and m != 1"] * 50, *["topic=a and m != 2"] * 50)
    assert len(index.match({"topic": "a", "m": 3})) == 100
    assert [str(tree) for tree in tested] == ["m!=1", "m!=2"]


def test_what_is_left_to_test_is_told_apart_by_what_it_means() -> None:
    index = filled("topic=a and n=1", "topic=a and n='1'", "topic=a and n=1.0", "topic=a and n=true")
    index.add("topic=a and n=x*", "contains", dialect=Dialect.FTRACK)
    index.add("topic=a and n=x*", "starts")
    assert index.match({"topic": "a", "n": 1}) == ("topic=a and n=1", "topic=a and n=1.0")
    assert index.match({"topic": "a", "n": "1"}) == ("topic=a and n=1", "topic=a and n='1'")
    assert index.match({"topic": "a", "n": True}) == ("topic=a and n=true",)
    assert index.match({"topic": "a", "n": "ax"}) == ("contains",)


def test_the_widest_and_the_deepest_tree_are_found_and_removed() -> None:
    wide = Or([And((Condition("topic", "=", f"t{n}"), Condition("n", "=", "1"))) for n in range(900)])
    both = And((wide, *[Condition("m", "!=", str(n)) for n in range(100)]))
    deep: Expression = Condition("topic", "=", "t5")
    while deep.depth < 119:
        deep = Or((And((deep, Condition("n", "=", "1"))), Condition("m", "=", "2")))
    index: Index[str] = Index()
    tokens = [index.add(tree, name) for name, tree in (("wide", wide), ("both", both), ("deep", deep))]
    assert index.match({"topic": "t5", "n": 1, "m": 100}) == ("wide", "both", "deep")
    assert index.match({"topic": "t5", "n": 1, "m": 5}) == ("wide", "deep")
    assert index.match({"m": 2}) == ("deep",)
    for token in tokens:
        index.remove(token)
    assert_is_like_new(index)


@pytest.mark.parametrize("text", ["k{}=1", "topic=a and (k{0}=1 or k{0}.x=2)"])
def test_any_number_of_keys_costs_no_more_than_testing_them(text: str) -> None:
    index: Index[int] = Index()
    tokens = [index.add(text.format(number), number) for number in range(1_000)]
    for number in (0, 400, 999):
        assert index.match({"topic": "a", f"k{number}": "1"}) == (number,)
    # Each new field copies them all: of any number, adding and removing would take the square.
    fields = [len(node.scan) for node in gc.get_objects() if type(node) is Node]
    assert max(fields) <= 256
    for token in tokens:
        index.remove(token)
    assert index.match({"topic": "a", "k0": "1"}) == ()


def test_a_chain_of_splits_ends() -> None:
    index: Index[int] = Index()
    common = [Condition(f"k{number}", "=", "1") for number in range(100)]
    for number in range(100):
        index.add(And((*common, Condition("last", "!=", str(number)))), number)
    candidate: dict[str, object] = {f"k{number}": 1 for number in range(100)}
    assert index.match({**candidate, "last": 7}) == tuple(number for number in range(100) if number != 7)


def test_readers_find_what_stays_while_writers_add_and_remove() -> None:
    index: Index[int] = Index()
    staying = many(300)
    for number, tree in enumerate(staying):
        index.add(tree, number)
    candidates = [{"topic": "t", "user": f"u{user}", "n": 40, "host": "h3", "name": "x40y"} for user in range(7)]
    expected = [[n for n, tree in enumerate(staying) if tree.matches(candidate)] for candidate in candidates]
    is_over = threading.Event()

    def write(first: int) -> None:
        coming = many(200)
        while not is_over.is_set():
            tokens = [index.add(tree, first + number, priority=number % 3) for number, tree in enumerate(coming)]
            for token in reversed(tokens):
                index.remove(token)

    def read() -> list[object]:
        wrong: list[object] = []
        for candidate, entries in list(zip(candidates, expected, strict=True)) * 60:
            matched = index.match(candidate)
            if [entry for entry in matched if entry < 1_000] != entries or len(set(matched)) != len(matched):
                wrong.append((candidate, matched))
        return wrong

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor() as threads:
            writers = [threads.submit(write, first) for first in (1_000, 2_000)]
            readers = [threads.submit(read) for _ in range(3)]
            wait(readers)
            is_over.set()
    finally:
        sys.setswitchinterval(interval)
    assert [reader.result() for reader in readers] == [[], [], []]
    assert [writer.result() for writer in writers] == [None, None]
    assert len(index) == len(staying)


def test_a_finaliser_may_add_and_remove_in_the_middle_of_a_change() -> None:
    index: Index[str] = Index()
    doomed = [index.add(f"topic=a and n != {number}", "doomed") for number in range(200)]
    nested: list[Token] = []

    def collecting(phase: str, _: object) -> None:
        if phase == "start" and doomed:
            index.remove(doomed.pop())
            nested.append(index.add(f"topic=b and n={len(nested)}", "nested"))

    threshold = gc.get_threshold()
    gc.callbacks.append(collecting)
    gc.set_threshold(5)
    try:
        tokens = [index.add(f"topic=a and n={number}", "kept") for number in range(300)]
    finally:
        gc.callbacks.remove(collecting)
        gc.set_threshold(*threshold)
    assert len(nested) > 50
    assert len(index) == len(doomed) + len(nested) + len(tokens)
    assert index.match({"topic": "b", "n": 3}) == ("nested",)
    for token in [*doomed, *nested, *tokens]:
        index.remove(token)
    assert_is_like_new(index)


def test_removing_everything_returns_the_memory() -> None:
    index: Index[int] = Index()
    texts = [f"topic=t{number} and user=u{number}" for number in range(2_000)]
    texts += [f"topic=t and (user=u{number} or n > {number})" for number in range(1_000)]
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(2):
            tokens = [index.add(text, 0) for text in texts]
            for number in range(0, 2_000, 10):
                assert len(index.match({"topic": f"t{number}", "user": f"u{number}"})) == 1
            index.match({"topic": "t"})
            full = tracemalloc.get_traced_memory()[0]
            for token in tokens:
                index.remove(token)
            del tokens, token
            gc.collect()
            left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert_is_like_new(index)
    assert full > 2_000_000
    assert left < full / 5  # parsing keeps some caches


def test_an_index_goes_away_with_all_it_holds() -> None:
    class Entry:
        alive = 0

        def __init__(self) -> None:
            Entry.alive += 1

        def __del__(self) -> None:
            Entry.alive -= 1

    index: Index[Entry] = Index()
    tokens = [index.add("topic=a", Entry()) for _ in range(3)]
    assert len(index.match({"topic": "a"})) == 3
    index.remove(tokens[0])
    index.match({"topic": "a"})
    tokens[0] = tokens[1]
    gc.collect()
    assert Entry.alive == 2
    del index, tokens
    gc.collect()
    assert Entry.alive == 0


def test_a_not_alone_is_tested_for_every_event() -> None:
    index: Index[int] = Index()
    index.add(Not(Condition("topic", "=", "a")), 1)
    assert index.match({"topic": "a"}) == ()
    assert index.match({}) == (1,)


def test_repr_says_how_many() -> None:
    assert repr(filled("topic=a", "n=1")) == "<Index of 2>"


def test_an_event_makes_its_id_where_a_subscription_asks_for_it() -> None:
    index: Index[str] = Index()
    index.add("topic=a and not id=x", "asks for the id")
    assert index.match(Event("a")) == ("asks for the id",)
