"""The upstream tests run in a process of their own, where `pydispatch` is what the judge says."""

from __future__ import annotations

collect_ignore = ["upstream"]
