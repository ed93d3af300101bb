"""nats-py's client, with a short path for the messages of streams.

nats-py passes each message through a queue and a task, and parses and validates its headers, which costs as much as all
other work on an event. A *direct* subscription receives messages in the task that reads the socket, with their headers
as bytes. Commands of `encode_publish` are written together.

All private names of nats-py that this needs are in this file; `tests/transport/nats/test_direct_client.py` checks the
installed version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from nats.aio.client import Client

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

__all__ = ["MessageHandler", "NatsClient", "encode_publish", "parse_headers"]

# Called with the subject, the subject to reply to (or ""), the payload, and the headers as they came (or b"").
MessageHandler = Callable[[str, str, bytes, bytes], object]
_VERSION: Final = b"NATS/1.0"


class NatsClient(Client):
    """A client of NATS, some of whose subscriptions are direct.

    Attributes:
        check_login: called just before the login is sent; sends nothing if it raises.
    """

    def __init__(self) -> None:
        super().__init__()
        self.check_login: Callable[[], object] = lambda: None
        self._takes: dict[int, MessageHandler] = {}

    def _connect_command(self) -> bytes:
        transport: Any = self._transport
        if transport._io_writer is not transport._bare_io_writer:
            # nats-py does not tell the reader that it is encrypted, so asyncio would log a warning at its end.
            transport._io_writer._protocol._over_ssl = True
        self.check_login()
        return super()._connect_command()

    async def subscribe_directly(self, subject: str, take: MessageHandler) -> Subscription:
        """Subscribe, and have `take` called with each message, in the order in which they come.

        `take` must not block. What it raises is passed to the client's error callback.
        """
        subscription = await self.subscribe(subject)  # pyright: ignore[reportUnknownMemberType]
        self._takes[_number(subscription)] = take
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Hand over no more messages of a direct subscription."""
        self._takes.pop(_number(subscription), None)

    async def write(self, commands: Iterable[bytes]) -> None:
        """Write commands of `encode_publish`, and wait for room in the buffer if there is none."""
        await self._send_command(b"".join(commands))
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> None:
        take = self._takes.get(sid)
        if take is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        try:
            take(subject.decode(), reply.decode(), data, headers or b"")
        except Exception as error:
            await self._error_cb(error)


def _number(subscription: Subscription) -> int:
    return subscription._id  # pyright: ignore[reportPrivateUsage]


def encode_publish(subject: str, reply: str, headers: bytes, payload: bytes) -> bytes:
    """The command that publishes a message (NATS client protocol: HPUB).

    `headers`: with the version line and the empty line at the end.
    """
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (
        subject.encode(),
        reply.encode(),
        len(headers),
        len(headers) + len(payload),
        headers,
        payload,
    )


def parse_headers(raw: bytes) -> Mapping[str, str]:
    """The headers of a message by their names, and an inline status as nats-py has it: `Status` and `Description`."""
    first, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    found: dict[str, str] = {}
    status, _, description = first.removeprefix(_VERSION).strip().partition(b" ")
    if status:
        found["Status"] = status.decode(errors="replace")
    if description:
        found["Description"] = description.decode(errors="replace").strip()
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            found[name.decode(errors="replace")] = value.decode(errors="replace").strip()
        elif line and status and "Description" not in found:
            found["Description"] = line.decode(errors="replace").strip()
    return found
