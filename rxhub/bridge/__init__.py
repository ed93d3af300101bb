"""Forwards the events of one hub to another, unchanged, with markers where events may be missing."""

from __future__ import annotations

from rxhub.bridge.bridge import Bridge
from rxhub.bridge.gap import GAP
from rxhub.bridge.tracker import Counts

__all__ = ["GAP", "Bridge", "Counts"]
