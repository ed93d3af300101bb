"""The position of a reader in a stream, and the filters that hold there."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FilterEpoch", "ReadPosition"]


class FilterEpoch(NamedTuple):
    """The filters before a change, and the last sequence for which they hold."""

    last: int
    filters: frozenset[str]


class ReadPosition(NamedTuple):
    """The position of a reader.

    Attributes:
        sequence: of the last message that was handled.
        stream: when the stream was created, to recognize a recreated stream.
        filters: in force at this position; None if unknown.
        epochs: earlier filters, as far as they are needed from `sequence` on.
    """

    sequence: int
    stream: str
    filters: tuple[str, ...] | None = None
    epochs: tuple[FilterEpoch, ...] = ()
