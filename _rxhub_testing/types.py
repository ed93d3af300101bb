"""The entry point of the group `hypothesis`."""

from __future__ import annotations

import sys

__all__ = ["register"]


def register() -> None:
    """Register rxhub's types if rxhub was imported; otherwise `import rxhub` registers them."""
    if "rxhub" in sys.modules:
        from rxhub.testing.registration import register

        register()
