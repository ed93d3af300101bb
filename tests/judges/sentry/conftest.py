"""Sentry's tests run under its own settings, in a process of their own."""

from __future__ import annotations

collect_ignore = ["upstream"]
