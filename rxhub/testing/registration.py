"""Register rxhub's types with Hypothesis: `st.from_type(Event)`."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import strategies as st

from rxhub.event import Event
from rxhub.expression import And, Condition, Everything, Expression, Not, Or

__all__ = ["register"]


def register() -> None:
    """Register strategies for events and expressions, which are imported on first use."""
    st.register_type_strategy(Event, lambda _: _strategies().events())
    st.register_type_strategy(Expression, lambda _: _strategies().expressions())
    for kind in (And, Or, Not, Condition):
        st.register_type_strategy(kind, _one_of)
    st.register_type_strategy(Everything, st.builds(Everything))


def _one_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    node: st.SearchStrategy[Expression] = _strategies().expressions()
    if kind in (And, Or):
        return st.lists(node, min_size=2, max_size=3).map(kind)
    if kind is Not:
        return node.map(Not)
    return node.map(_first_condition)


def _first_condition(node: Expression) -> Expression:
    while not isinstance(node, Condition):
        node = node.children[0] if isinstance(node, (And, Or)) else cast("Not", node).child
    return node


def _strategies() -> Any:
    from rxhub.testing import strategies

    return strategies
