"""The hub: a transport, the dispatch operator, and their observers.

`hub.events` ──▶ `Dispatcher` ──▶ `hub.deliveries`, between an inbox that anybody may fill and the one handling context
that empties it. One class with many methods, so each kind of them has a file: `connecting` to a server, `subscribing`,
`publishing`, `groups` of programs that share work, the `history` of what was, `attaching` what lives beside the hub,
and its `life`, which is who handles it and how it ends. They share what `parts` names, and know nothing else of each
other; `hub` makes the parts and puts all of it together.
"""

from rxhub.hub.hub import EventHub

__all__ = ["EventHub"]
