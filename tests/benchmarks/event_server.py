"""Our server, in a process of its own, with no limit in the way of a load."""

from __future__ import annotations

import logging
import sys
import time

from rxhub.server import Limits, running

__all__ = ["main"]


def main() -> None:
    """Serve at a free port, which is printed, with user and key."""
    logging.disable()
    limits = Limits(events=1e9, events_at_once=10**9, handshakes=1e6, handshakes_at_once=10**6)
    # Nobody here answers heartbeats: none is sent while it runs.
    with running(limits=limits, heartbeat=3_000, heartbeat_timeout=3_600) as server:
        print(server.url.rpartition(":")[2], server.api_user, server.api_key, flush=True)
        while True:
            time.sleep(3_600)


if __name__ == "__main__":
    sys.exit(main())
