"""What programs that use rxhub are tested with.

- `virtual_hub()`: a hub on which an hour passes in a millisecond.
- `Marbles`: marble diagrams of events, in the manner of RxJS.
- `record(hub)`, `Recording`: what came through a hub, kept and played again.
- `rxhub.testing.strategies`: events and subscriptions for Hypothesis, also such that match each other.
- `HubStateMachine`: a hub against a sorted list, to be subclassed.

For pytest there are the fixtures `hub`, `recorder`, `marbles`, `server` and `nats`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rxhub.testing.marbles import MarbleError, Marbles
from rxhub.testing.matching import Undecided
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
    """Import what needs Hypothesis when it is asked for."""
    if name == "HubStateMachine":
        try:
            from rxhub.testing.stateful import HubStateMachine
        except ModuleNotFoundError as error:
            raise missing_dependency(error, "HubStateMachine", "testing") from None
        return HubStateMachine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
