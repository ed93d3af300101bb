"""Django's tests run under Django's runner, in a process of their own."""

from __future__ import annotations

collect_ignore = ["upstream"]
