"""Our server, in a process of its own, with no limit in the way of a load; with a backplane, if one is named."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

from rxhub.server import Backplane, Limits, running

__all__ = ["main"]


def main(backplane: Sequence[str]) -> None:
    """Serve at a free port, which is printed, with user and key.

    Args:
        backplane: URL, user and password of a NATS server, and a stream; nothing for a server that is alone.
    """
    logging.disable()
    limits = Limits(events=1e9, events_at_once=10**9, handshakes=1e6, handshakes_at_once=10**6)
    joined = Backplane(*backplane) if backplane else None
    # Nobody here answers heartbeats: none is sent while it runs.
    with running(limits=limits, heartbeat=3_000, heartbeat_timeout=3_600, backplane=joined) as server:
        print(server.url.rpartition(":")[2], server.api_user, server.api_key, flush=True)
        while True:
            time.sleep(3_600)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
