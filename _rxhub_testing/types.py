"""The entry point of the group `hypothesis`."""

from __future__ import annotations

import sys

__all__ = ["register"]


def register() -> None:
    """Register rxhub's types if somebody has imported them; else `import rxhub` does it, which looks for Hypothesis."""
    if "rxhub" in sys.modules:
        from rxhub.testing.registration import register

        register()
