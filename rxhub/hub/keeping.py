"""The methods of a hub that keep something beside its events."""

from __future__ import annotations

from concurrent.futures import Future

from rxhub.hub.parts import Parts
from rxhub.transport import durable

__all__ = ["Keeping"]


class Keeping(Parts):
    """What outlives the program."""

    def keep(self, key: str, text: str) -> Future[None]:
        """Keep a short text beside the stream, in the place of the one that was kept under this key.

        Args:
            key: letters, digits, `-` and `_`.
            text: such as how far a program has come.

        Returns:
            A future that is done when it is stored, or holds why it is not, after some seconds at most.

        Raises:
            NotDurable: if the transport keeps nothing.
        """
        return durable(self._link.transport, "hub.keep").keep(key, text)

    def kept(self, key: str) -> Future[str | None]:
        """The text that is kept under a key, or None, by a future as that of `keep`.

        Raises:
            NotDurable: if the transport keeps nothing.
        """
        return durable(self._link.transport, "hub.kept").kept(key)
