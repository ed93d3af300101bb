"""In a notebook: `live`, a table that follows a stream, and `watch`, which counts what a hub's subscribers do.

Events, expressions, explanations, deliveries, subscribers, signals and hubs show themselves, without an import from
here. Nothing subscribes by being shown; `live` and `watch` do, until they are stopped.
"""

from rxhub.jupyter.live import Live, live
from rxhub.jupyter.watching import Watch, watch

__all__ = ["Live", "Watch", "live", "watch"]
