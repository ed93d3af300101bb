"""A list that reports its changes, for lists of other libraries' objects that programs change."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

__all__ = ["ObservedList"]


class ObservedList(list[Any]):
    """Calls `on_change` with itself after each change; None ends it."""

    def __init__(self, items: Any, on_change: Callable[[ObservedList], object] | None) -> None:
        super().__init__(items)
        self.on_change = on_change

    def __reduce__(self) -> tuple[Any, ...]:
        return list, ([*self],)


def _reporting(name: str) -> Callable[..., Any]:
    change = cast("Callable[..., Any]", getattr(list, name))

    @wraps(change)
    def method(self: ObservedList, *arguments: Any, **keywords: Any) -> Any:
        result = change(self, *arguments, **keywords)
        if self.on_change is not None:
            self.on_change(self)
        return result

    return method


for _name in {*dir(list)} - {*dir(tuple)} - {"copy", "__reversed__"}:  # all that change a list
    setattr(ObservedList, _name, _reporting(_name))
