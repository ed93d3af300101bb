"""Hub to hub: the events of one, passed on to another as they came, and marked where some may be missing."""

from __future__ import annotations

from rxhub.bridge.bridge import Bridge
from rxhub.bridge.gap import GAP
from rxhub.bridge.tracker import Counts

__all__ = ["GAP", "Bridge", "Counts"]
