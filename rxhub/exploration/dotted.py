"""Dotted keys of nested values, as subscriptions use them."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["dotted"]


def dotted(prefix: str, key: Any) -> str:
    """The dotted key of a value below `prefix`. A key that contains a dot or is empty is quoted, so that none is twice.

    >>> dotted("data", "shot"), dotted("data", "a.b")
    ('data.shot', 'data."a.b"')
    """
    name = key if isinstance(key, str) else str(key)
    if not name or "." in name or '"' in name:
        name = msgspec.json.encode(name.encode("utf-8", "replace").decode()).decode()
    return f"{prefix}.{name}" if prefix else name
