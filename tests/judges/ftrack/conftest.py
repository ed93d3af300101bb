"""ftrack's tests run in processes of their own, with the fixtures of `run.py`."""

from __future__ import annotations

collect_ignore = ["upstream"]
