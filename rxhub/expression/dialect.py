"""The two meanings of a wildcard."""

from __future__ import annotations

from enum import Enum

__all__ = ["Dialect"]


class Dialect(Enum):
    """What a `*` means; the rest of the language is the same in both dialects.

    Attributes:
        RXHUB: `a*` starts with, `*a` ends with, `*a*` contains, `*` is present and not null, `**` is any string.
        FTRACK: as in ftrack's Python client, a trailing `*` means containment, and any other `*` is literal.
    """

    RXHUB = "rxhub"
    FTRACK = "ftrack"

    __hash__ = object.__hash__  # members are unique, and the hash of Enum is slow Python code

    def __repr__(self) -> str:
        return f"Dialect.{self.name}"
