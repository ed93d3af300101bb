"""How many sockets the process can have, and limits that fit it.

A server that uses up its file descriptors cannot accept a health check, read its users file or reach its store. So
fewer clients are let in than there are descriptors.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from rxhub.server.limits import Limits

__all__ = ["limits_for_descriptors", "raise_soft_limit"]

_RESERVED_DESCRIPTORS = 32
"""Descriptors for the users file, the store, name resolution, and what else the process opens."""

_PENDING_SHARE = 4
"""One of so many descriptors is kept for connections that are not clients yet, health checks among them."""


def raise_soft_limit() -> None:
    """Raise the soft limit of open files to the hard limit, as far as the system allows."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS reports no hard limit, and refuses more than OPEN_MAX.
    for most in (hard, 10_240):
        if soft != resource.RLIM_INFINITY and (most == resource.RLIM_INFINITY or most > soft):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            except (OSError, ValueError):
                continue
        return


def limits_for_descriptors(limits: Limits) -> Limits:
    """The limits, with as many connections at most as the process can open files."""
    room = _available()
    if room is None or room >= limits.connections + limits.pending:
        return limits
    pending = max(1, min(limits.pending, room // _PENDING_SHARE))
    return replace(limits, pending=pending, connections=max(1, min(limits.connections, room - pending)))


def _available() -> int | None:
    """Descriptors that are left for connections; None if there is no limit."""
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
