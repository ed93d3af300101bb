"""A reactive event hub: subscriptions, priorities, `stop()` and replies, as observables.

The public names:

- `Event`: topic, data, source and target.
- `EventHub`: routes events to subscribers in order of priority; `Dispatcher` does so without a transport.
- `Delivery`, `Outcome`: the dispatch of one event to its subscribers, and the result or error of each callback.
- `Signal`, `receiver`, `Emission`: signals with senders and receivers, as in Django, which are also observables.
- `Subject`: a fast reactivex subject that isolates its observers and keeps order.
- `where`, `dispatch`, `resume`, `overflow`, `sessions`, `within`, `missing`: operators for any reactivex pipeline.
- `read_events`, `write_events`, `sample_events`: events in files, see `rxhub.exploration`.

The subscription language is in `rxhub.expression`, the exceptions in `rxhub.errors`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

try:
    from rxhub.dispatching.delivery import Delivery, Outcome
    from rxhub.dispatching.dispatcher import Dispatcher
    from rxhub.dispatching.subscriber import Subscriber
    from rxhub.event import Event
    from rxhub.hub import EventHub
    from rxhub.operators import dispatch, missing, overflow, resume, sessions, where, within
    from rxhub.rx.subject import Subject
    from rxhub.signals.decorator import receiver
    from rxhub.signals.emission import Emission
    from rxhub.signals.signal import Signal
    from rxhub.text import log_records
except ModuleNotFoundError as error:
    from rxhub.text.extras import missing_dependency

    raise missing_dependency(error, "rxhub") from None

__version__ = "0.1.0"

__all__ = [
    "Delivery",
    "Dispatcher",
    "Emission",
    "Event",
    "EventHub",
    "Outcome",
    "Signal",
    "Subject",
    "Subscriber",
    "dispatch",
    "missing",
    "overflow",
    "read_events",
    "receiver",
    "resume",
    "sample_events",
    "sessions",
    "where",
    "within",
    "write_events",
]

if TYPE_CHECKING:
    from rxhub.exploration import read_events, sample_events, write_events


def __getattr__(name: str) -> Any:
    """Import the exploration of files on first use: most programs need none."""
    if name not in ("read_events", "sample_events", "write_events"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rxhub import exploration

    return getattr(exploration, name)


log_records.install()

if sys.modules.get("hypothesis") is not None:
    # Its entry points were loaded before there was an Event to register.
    from rxhub.testing.registration import register

    register()
