"""What notebooks show of events, expressions, deliveries, signals and hubs, as text and as HTML.

Importing this package registers a renderer for each class.
"""

from __future__ import annotations

from rxhub.display import renderers

__all__ = ["renderers"]
