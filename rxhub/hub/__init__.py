"""`EventHub`: the dispatch operator between a transport and its observers.

`hub` has the public methods. Each of its components owns its state: `address` (the URL), `connection` (the transport
and its state), `inbox` (waiting events and timers), `runner` (the handling contexts), `publisher` and `replies`,
`processings`, and `lifetime` (serving and closing).

`requests`, `replay`, `stream`, `description` and `signal_bridge` implement single methods. `private_loop` and
`scheduler` run coroutines and timers in the handling context.
"""

from rxhub.hub.hub import EventHub

__all__ = ["EventHub"]
