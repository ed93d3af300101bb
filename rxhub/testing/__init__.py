"""Test programs that use rxhub.

- `virtual_hub()`: a hub on which an hour passes in a millisecond.
- `Marbles`: marble diagrams of events, as in RxJS.
- `record(hub)`, `Recording`: record and replay the events of a hub.
- `rxhub.testing.strategies`: Hypothesis strategies for events and subscriptions, including matching ones.
- `HubStateMachine`: a base class that compares a hub with a sorted list.

pytest fixtures: `hub`, `recorder`, `marbles`, `server` and `nats`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rxhub.testing.marbles import MarbleError, Marbles
from rxhub.testing.matching_search import Undecided
from rxhub.testing.nats import Nats
from rxhub.testing.recording import Recorded, Recording, record
from rxhub.testing.virtual import VirtualHub, virtual_hub
from rxhub.text.extras import missing_dependency

if TYPE_CHECKING:
    from rxhub.testing.stateful import HubStateMachine

__all__ = [
    "HubStateMachine",
    "MarbleError",
    "Marbles",
    "Nats",
    "Recorded",
    "Recording",
    "Undecided",
    "VirtualHub",
    "record",
    "virtual_hub",
]


def __getattr__(name: str) -> Any:
    """Import HubStateMachine on first use, since it needs Hypothesis."""
    if name == "HubStateMachine":
        try:
            from rxhub.testing.stateful import HubStateMachine
        except ModuleNotFoundError as error:
            raise missing_dependency(error, "HubStateMachine", "testing") from None
        return HubStateMachine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
