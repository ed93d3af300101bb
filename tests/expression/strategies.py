"""What properties are tested with: trees and candidates that meet, and candidates that nobody would wish for."""

from __future__ import annotations

from collections import ChainMap, OrderedDict, UserDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple
from unittest.mock import ANY

from hypothesis import strategies as st

from rxhub.event import Event
from rxhub.expression import And, Condition, Dialect, Expression, Not, Or
from rxhub.expression.comparisons import OPERATORS

KEYS = ["topic", "id", "a", "b", "source", "user", "", "é", "not", "in"]
TEXTS = ["ftrack.update", "a", "ab", "abc", "b", "10", "9", "10.0", "1e1", "-0", "007", "true", "false", "null", "NaN"]
NUMBERS = ["0", "-1", "9.5", "1e3"]
WILDCARDS = ["*", "**", "a*", "*b", "*b*", "ftrack.*", "a*b", "***", "1*"]

dialects = st.sampled_from(Dialect)
keys = (
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(".".join).filter(lambda key: key and key[:4] != "not.")
)
operators = st.sampled_from([*OPERATORS]) | st.just("=")
texts = st.sampled_from(TEXTS) | st.sampled_from(WILDCARDS)
bare_texts = texts | st.text("ab09_-,./*@+:%#éनि", min_size=1, max_size=5)
quoted_texts = (
    texts | st.text("ab0 *\t\n'()=,\u2028", max_size=5) | st.sampled_from(['"', "'", '""', "''", "\\\\", '\\"'])
)


def conditions(dialect: Dialect) -> st.SearchStrategy[Condition]:
    bare = st.builds(Condition, keys, operators, bare_texts, st.just(False), st.just(dialect))
    quoted = st.builds(Condition, keys, operators, quoted_texts, st.just(True), st.just(dialect))
    return bare | quoted


def trees(dialect: Dialect = Dialect.RXHUB) -> st.SearchStrategy[Expression]:
    def joined(nodes: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
        children = st.lists(nodes, min_size=2, max_size=4).map(tuple)
        return st.builds(And, children) | st.builds(Or, children) | st.builds(Not, nodes)

    memberships = st.builds(
        lambda key, values: Or(tuple(Condition(key, "=", value, False, dialect) for value in values)),
        keys,
        st.lists(bare_texts, min_size=2, max_size=3),
    )
    return st.recursive(conditions(dialect) | memberships, joined, max_leaves=8)


any_trees = dialects.flatmap(trees)


class Hostile:
    """Raises whatever it is asked."""

    def _refuse(self, *_: object) -> Any:
        raise RuntimeError("hostile")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __len__ = __contains__ = _refuse
    __getitem__ = __iter__ = __repr__ = __str__ = _refuse
    __hash__ = _refuse  # type: ignore[assignment]


class Truthless:
    """Compares, but the answers have no truth value, as those of arrays."""

    class _Answer:
        def __bool__(self) -> bool:
            raise ValueError("ambiguous")

    def _answer(self, _: object) -> Any:
        return self._Answer()

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = _answer
    __hash__ = None  # type: ignore[assignment]


class Version:
    """A version object as it travels in local events: ordered against texts and numbers, in its own way."""

    def __init__(self, *parts: int) -> None:
        self.parts = parts

    def _read(self, other: object) -> tuple[int, ...]:
        return tuple(int(part) for part in str(other).split("."))

    def __eq__(self, other: object) -> bool:
        return self.parts == self._read(other)

    def __hash__(self) -> int:
        return hash(self.parts)

    def __lt__(self, other: object) -> bool:
        return self.parts < self._read(other)

    def __le__(self, other: object) -> bool:
        return self.parts <= self._read(other)

    def __gt__(self, other: object) -> bool:
        return self.parts > self._read(other)

    def __ge__(self, other: object) -> bool:
        return self.parts >= self._read(other)


class Label(str):
    """A str subclass that compares without regard to case."""

    def __eq__(self, other: object) -> bool:
        return self.lower() == str(other).lower()

    def __hash__(self) -> int:
        return hash(self.lower())

    def startswith(self, *_: object) -> bool:  # type: ignore[override]
        raise RuntimeError("hostile")


class HostileLabel(str):
    __eq__ = __lt__ = __ge__ = Hostile._refuse  # type: ignore[assignment]
    __hash__ = str.__hash__


class HostileNumber(int):
    __eq__ = __lt__ = __ge__ = __le__ = __gt__ = Hostile._refuse  # type: ignore[assignment]
    __hash__ = int.__hash__


class HostileMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("hostile")

    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("hostile")

    def __len__(self) -> int:
        raise RuntimeError("hostile")


class HostileClass:
    """Does not say what it is; Hypothesis itself would stumble over it, so it stands in no strategy."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("hostile")


class EndlessList(list[Any]):
    """Claims in its `__iter__` to never end."""

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield "a"


class Growing(UserDict[str, Any]):
    """Makes what it lacks, as a defaultdict does."""

    def __missing__(self, key: str) -> Any:
        self.data[key] = "a"
        return "a"


class Subscriptable:
    """Has steps, but is no mapping."""

    def __getitem__(self, key: object) -> Any:
        return "a"


class Proxy:
    """Says that it is what it stands for, as lazy proxies do."""

    def __init__(self, target: Any) -> None:
        self._target = target

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        return self._target.__class__

    def __getitem__(self, key: Any) -> Any:
        return self._target[key]

    def __contains__(self, key: Any) -> bool:
        return key in self._target

    def __eq__(self, other: object) -> bool:
        return bool(self._target == other)

    def __hash__(self) -> int:
        return hash(self._target)


class HostileKey(str):
    """Collides with a key, and refuses to be compared."""

    __eq__ = Hostile._refuse  # type: ignore[assignment]
    __hash__ = str.__hash__


class Pair(NamedTuple):
    first: Any
    second: Any


plain_values = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([*TEXTS, "", "*", "Ftrack.Update", "a b"]),
    st.sampled_from([0, 1, 9, 10, -1, 10**30, 10.0, 9.5, -0.0, float("nan"), float("inf")]),
    st.text(max_size=3),
)

ODDITIES: list[Callable[[], Any]] = [
    Hostile,
    Truthless,
    HostileMapping,
    Subscriptable,
    lambda: ANY,
    lambda: Version(10),
    lambda: Label("FTRACK.update"),
    lambda: HostileLabel("a"),
    lambda: HostileNumber(10),
    lambda: HostileNumber,
    lambda: Decimal(10),
    lambda: Decimal("NaN"),
    lambda: Decimal("sNaN"),
    lambda: Fraction(10),
    lambda: complex(10, 0),
    lambda: b"a",
    lambda: {"a", "b"},
    lambda: iter(["a"]),
    lambda: range(3),
    lambda: list,
    object,
    lambda: EndlessList(["a", 10]),
    lambda: Pair("a", {"a": "b"}),
    lambda: defaultdict(lambda: "a"),
    lambda: Growing(b="ab"),
    lambda: UserDict(a="a", b={"a": 10}),
    lambda: OrderedDict(a="a", b=10),
    lambda: MappingProxyType({"a": "a", "b": [10]}),
    lambda: ChainMap({"a": "a"}, {"b": "b"}),
    lambda: Event("ftrack.update", data={"a": "a"}, source={"user": "a"}),
    lambda: {HostileKey("a"): 1, "b": 2},
    lambda: {1: 2, None: 3, ("a",): 4},
    lambda: Proxy({"a": "a", "b": "b"}),
    lambda: Proxy("ftrack.update"),
    lambda: Proxy(10),
    lambda: Proxy(["a"]),
]
odd_values = st.integers(0, len(ODDITIES) - 1).map(lambda number: ODDITIES[number]())


def _containers(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.dictionaries(st.sampled_from(KEYS), values, max_size=5),
        st.lists(values, max_size=3),
        st.lists(values, max_size=3).map(tuple),
    )


plain_candidates = st.dictionaries(st.sampled_from(KEYS), st.recursive(plain_values, _containers, max_leaves=8))
any_candidates = st.one_of(
    plain_candidates,
    st.dictionaries(st.sampled_from(KEYS), st.recursive(plain_values | odd_values, _containers, max_leaves=8)),
    st.recursive(plain_values | odd_values, _containers, max_leaves=5),
    plain_candidates.map(lambda fields: Event("ftrack.update", data=fields, source=fields)),
)
