"""The two readings of a wildcard."""

from __future__ import annotations

from enum import Enum

__all__ = ["Dialect"]


class Dialect(Enum):
    """Whose meaning a `*` has; everything else in the language is the same in both.

    Attributes:
        RXHUB: `a*` starts with, `*a` ends with, `*a*` contains, `*` is present and not null, `**` is any string.
        FTRACK: the rule of ftrack's Python client: a trailing `*` means containment, any other `*` is literal.
    """

    RXHUB = "rxhub"
    FTRACK = "ftrack"

    __hash__ = object.__hash__  # members are unique; the enum's own hash runs in Python, at every look-up

    def __repr__(self) -> str:
        return f"Dialect.{self.name}"
