"""`EventHub`: the dispatch operator between a transport and its observers.

`hub` has the public methods. Each of its components owns its state: `address` (the URL), `connection` (the transport
and its state), `inbox` (waiting events and timers), `runner` (the handling contexts), `publisher` and `replies`,
`processings`, and `lifetime` (serving and closing).
"""

from rxhub.hub.hub import EventHub

__all__ = ["EventHub"]
