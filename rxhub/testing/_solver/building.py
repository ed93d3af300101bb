"""A candidate that meets the demands on all of its paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from rxhub.testing._solver.choices import Choices
from rxhub.testing._solver.clauses import Path
from rxhub.testing._solver.demands import Conflict, Demands
from rxhub.testing._solver.question import ABSENT, witness
from rxhub.testing._solver.verdicts import Undecided

__all__ = ["build"]


class _Node:
    """A step of the paths: the demands on what stands there, and the steps that lead on."""

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.demands: Demands | None = None

    @property
    def positive(self) -> bool:
        """Whether something must be here, or further on."""
        if self.demands is not None and self.demands.positive:
            return True
        return any(child.positive for child in self.children.values())

    @property
    def leads_on(self) -> bool:
        """Whether a mapping must be here."""
        return any(child.positive for child in self.children.values())


class _Apart(list[Any]):
    """Values that must stand in a mapping each."""


def build(by_path: Mapping[Path, Demands], choices: Choices, base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A candidate.

    Args:
        by_path: the demands.
        choices: who decides between what would do.
        base: kept where the demands allow it.

    Raises:
        Conflict: if the demands on different paths contradict each other.
        Undecided: if they may.
    """
    root = _Node()
    for path, demands in by_path.items():
        node = root
        for step in path:
            node = node.children.setdefault(step, _Node())
        node.demands = demands
    built = _mapping(root, choices, {} if base is None else base, top=True)
    if isinstance(built, list):
        raise Conflict("values that need a mapping each stand at the top of the candidate")
    return built


def _mapping(
    node: _Node, choices: Choices, base: Mapping[str, Any], top: bool = False
) -> dict[str, Any] | list[dict[str, Any]]:
    """The mapping at a node, or a list of them where its values cannot stand in one."""
    built = dict(base)
    further: list[dict[str, Any]] = []
    for step, child in node.children.items():
        value = _value(child, choices, base.get(step, ABSENT), top)
        if isinstance(value, _Apart):
            value, *others = value
            further += [{step: other} for other in others]
        if value is ABSENT:
            built.pop(step, None)
        else:
            built[step] = value
    return [built, *further] if further else built


def _value(node: _Node, choices: Choices, base: Any, top: bool) -> Any:
    demands = node.demands
    if demands is None:
        return _way_through(node, choices, base, top)
    if node.leads_on:
        demands.check_mapping()
        return _both(node, demands, choices)
    if not demands.absent and base is not ABSENT and not node.children and _keeps(demands, base):
        return base
    if demands.single:
        return demands.one(choices)
    if not demands.positive:
        return _nothing_needed(node, demands, choices)
    return _leaf(demands, choices)


def _keeps(demands: Demands, base: Any) -> bool:
    if demands.single:
        return demands.fits(base)
    if demands.present:
        # An empty list is no value; a list is asked element by element, which `fits` does.
        elements = cast("list[object]", base) if isinstance(base, list) else [base]
        return bool(elements) and not isinstance(elements[0], list) and demands.fits(cast("object", base))
    return demands.fits(base)


def _way_through(node: _Node, choices: Choices, base: Any, top: bool) -> Any:
    """A mapping that only leads on, made of what is there."""
    listed = isinstance(base, list)
    elements: list[Any] = cast("list[Any]", base) if listed else [base]
    mappings = [cast("Mapping[str, Any]", element) for element in elements if isinstance(element, Mapping)]
    if not node.leads_on:
        if base is ABSENT or not mappings:
            return cast("Any", base) if not listed or _flat(elements) else ABSENT
        if listed:
            return [_mapping(node, choices, mapping) for mapping in mappings]
        return _mapping(node, choices, mappings[0])
    built = _mapping(node, choices, mappings[0] if mappings else {})
    if isinstance(built, list):
        return built
    # The data of an event, and its source, are mappings whatever is in them.
    return [built] if listed or (not top and choices.among((False, False, False, True))) else built


def _flat(elements: list[Any]) -> bool:
    return not any(isinstance(element, (list, tuple)) for element in elements)


def _nothing_needed(node: _Node, demands: Demands, choices: Choices) -> Any:
    """What may stand where nothing need be: mostly nothing."""
    if demands.absent or node.children or not choices.among((False, True)):
        return ABSENT
    return witness([], demands.no, choices)


def _leaf(demands: Demands, choices: Choices) -> Any:
    alone = not choices.among((False, False, True)) or demands.whole
    if alone:
        try:
            value = demands.one(choices)
        except Conflict:
            pass
        else:
            return [value] if not demands.whole and choices.among((False, False, False, True)) else value
    try:
        values = demands.several(choices)
        if choices.among((False, False, True)):
            extra = witness([], demands.no, choices, listed=True)
            values += [] if extra is ABSENT else [extra]
        if demands.fits(values):
            return values
    except Conflict:
        if not demands.whole:
            raise
    if not demands.whole and not alone:
        return demands.one(choices)
    return _Apart(demands.apart(choices))


def _both(node: _Node, demands: Demands, choices: Choices) -> Any:
    """A mapping where values are demanded too."""
    built = _mapping(node, choices, {})
    mappings = built if isinstance(built, list) else [built]
    if len(mappings) == 1 and demands.fits(mappings[0]):
        return mappings[0]
    rest = Demands(demands.path, "", [q for q in demands.yes if not q.met(mappings)], demands.no)
    try:
        values = [*mappings, *rest.several(choices)]
        if demands.fits(values):
            return values
    except Conflict:
        if not demands.whole:
            raise
    raise Undecided(f"At `{demands.path}` a mapping, and what ftrack's `*` asks of it, were not brought together.")
