"""What a backplane's NATS system stores, for the HTTP interface: streams, groups and dead letters."""

from __future__ import annotations

from datetime import datetime

from rxhub.expression import Expression
from rxhub.transport.durable import StreamState
from rxhub.transport.nats.dead_letters import StoredDeadLetters
from rxhub.transport.nats.event_counts import EventCount, event_counts
from rxhub.transport.nats.group_replay import GroupReplay
from rxhub.transport.nats.groups import StoredGroups
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.stream_changes import StreamChanges
from rxhub.transport.nats.streams import stream_states
from rxhub.transport.nats.subjects import Subjects

__all__ = ["StoredContents"]


class StoredContents:
    """The contents of a NATS system, used on the event loop of the server.

    Requests raise HubConnectionError if NATS cannot be reached, and StreamError if JetStream rejects them.

    Attributes:
        stream: the name of the stream of the backplane.
        dead_letters: of this stream.
        groups: of this stream.
        changes: of all streams.
    """

    def __init__(self, client: ReconnectingClient, subjects: Subjects) -> None:
        self._client = client
        self._subjects = subjects
        self.stream = subjects.stream
        self.dead_letters = StoredDeadLetters(client, subjects)
        self.groups = StoredGroups(client, subjects)
        self.changes = StreamChanges(client)

    async def streams(self) -> tuple[StreamState, ...]:
        """All streams of events."""
        return await stream_states(self._client)

    async def event_counts(self, number: int) -> list[EventCount]:
        """The events of the stream over time, see `rxhub.transport.nats.event_counts`."""
        return await event_counts(self._client, self.stream, number)

    def group_replay(self, group: str, expression: Expression, until: datetime, work: int) -> GroupReplay:
        """A replay of stored events into a group, see `rxhub.transport.nats.group_replay`."""
        return GroupReplay(self._client, self._subjects, group, expression, until, work)
