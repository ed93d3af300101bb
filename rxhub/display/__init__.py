"""The display of events, expressions, deliveries, signals and hubs in notebooks, as text and as HTML.

Importing this package registers a renderer for each class.
"""

import rxhub.display.exploration  # pyright: ignore[reportUnusedImport]
import rxhub.display.renderers  # noqa: F401  # pyright: ignore[reportUnusedImport]

__all__: list[str] = []
