"""Adapts the limits of a server to the number of file descriptors.

A server without free file descriptors cannot accept a health check, read its users file or connect to NATS. So it
accepts fewer clients than there are descriptors.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from rxhub.server.limits import Limits

__all__ = ["limits_for_descriptors", "raise_soft_limit"]

_RESERVED_DESCRIPTORS = 32
"""Descriptors for the users file, NATS, name resolution and other uses."""

_PENDING_SHARE = 4
"""One in four descriptors is reserved for connections that are not clients yet, including health checks."""


def raise_soft_limit() -> None:
    """Raise the soft limit of open files to the hard limit, if the system allows it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS reports no hard limit, and rejects more than OPEN_MAX.
    for most in (hard, 10_240):
        if soft != resource.RLIM_INFINITY and (most == resource.RLIM_INFINITY or most > soft):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            except (OSError, ValueError):
                continue
        return


def limits_for_descriptors(limits: Limits) -> Limits:
    """The limits, with no more connections than the process can open files."""
    room = _available()
    if room is None or room >= limits.connections + limits.pending:
        return limits
    pending = max(1, min(limits.pending, room // _PENDING_SHARE))
    return replace(limits, pending=pending, connections=max(1, min(limits.connections, room - pending)))


def _available() -> int | None:
    """Free descriptors for connections; None if there is no limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    try:
        used = len(os.listdir("/dev/fd"))  # noqa: PTH208 - the number alone
    except OSError:
        used = _RESERVED_DESCRIPTORS
    return max(2, soft - used - min(_RESERVED_DESCRIPTORS, soft // 4))
