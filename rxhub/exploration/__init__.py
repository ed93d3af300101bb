"""Explore events: read them from files, URLs and iterables, see what they contain, and write them.

`read_events`, `write_events` and `sample_events` are also in `rxhub`.
"""

from rxhub.exploration.compression import UnreadableInput
from rxhub.exploration.events import Events, InvalidItem, TopicCounts, read_events, sample_events
from rxhub.exploration.frames import Frames
from rxhub.exploration.keys import Key, Keys
from rxhub.exploration.writing import write_events
from rxhub.expression.match_counts import MatchCounts

__all__ = [
    "Events",
    "Frames",
    "InvalidItem",
    "Key",
    "Keys",
    "MatchCounts",
    "TopicCounts",
    "UnreadableInput",
    "read_events",
    "sample_events",
    "write_events",
]
