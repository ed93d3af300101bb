"""Live views in notebooks: `live`, a table that follows a stream, and `watch`, which counts the calls of subscribers.

Notebooks show events, expressions, explanations, deliveries, subscribers, signals and hubs without this package.
Showing an object does not subscribe to it; `live` and `watch` subscribe until they are stopped.
"""

from rxhub.jupyter.live import Live, live
from rxhub.jupyter.watch import Watch, watch

__all__ = ["Live", "Watch", "live", "watch"]
