"""`hub.streams` and `hub.groups`: describe and change the streams of a NATS system, and their groups."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, Unpack

from rxhub.transport.durable import GroupReset, GroupState, Loss, Moment, Place, StreamLimits, StreamState
from rxhub.transport.nats.dead_letters import LinkOwner
from rxhub.transport.nats.groups import StoredGroups
from rxhub.transport.nats.stream_changes import StreamChanges
from rxhub.transport.nats.streams import stream_states
from rxhub.transport.nats.subjects import Subjects

__all__ = ["Groups", "Streams"]

# Seconds for JetStream to answer, and to delete events.
_LIST_TIMEOUT_S = 10.0
_CHANGE_TIMEOUT_S = 120.0

T = TypeVar("T")


class Streams:
    """The streams of events in a NATS system. Calling it returns the state of each, sorted by name.

    Each change has a method that returns beforehand what the change would delete. Deleted events cannot be restored,
    and groups that have not handled them never receive them.

    All methods wait for the server. They raise `NotFoundError` if the stream does not exist, `StreamError` if JetStream
    rejects the request, `HubConnectionError` if the hub is not connected or JetStream does not answer, and `ValueError`
    for an invalid argument.
    """

    def __init__(self, caller: LinkOwner) -> None:
        self._caller = caller

    def __call__(self) -> tuple[StreamState, ...]:
        """The streams and their groups."""
        return self._caller.call(stream_states(self._caller.link), _LIST_TIMEOUT_S)

    def preview_limits(self, name: str, **limits: Unpack[StreamLimits]) -> Loss:
        """What `set_limits` would delete."""
        return self._change(lambda streams: streams.preview_limits(name, **limits))

    def set_limits(self, name: str, **limits: Unpack[StreamLimits]) -> None:
        """Change limits of a stream. The server deletes what exceeds them at once.

        Args:
            name: of the stream.
            limits: see `rxhub.transport.durable.StreamLimits`.
        """
        self._change(lambda streams: streams.set_limits(name, **limits))

    def preview_purge(self, name: str, topic: str | None = None, until: Moment | None = None) -> Loss:
        """What `purge` would delete."""
        return self._change(lambda streams: streams.preview_purge(name, topic, until))

    def purge(self, name: str, topic: str | None = None, until: Moment | None = None) -> int:
        """Delete events of a stream. Dead letters and the positions of groups remain.

        Args:
            name: of the stream.
            topic: only events of this topic, or with a prefix that ends with `.*`.
            until: only events up to this sequence or time, which is included: an aware datetime, a timedelta (how long
                ago, by the server's clock) or a sequence. To delete no event that a preview did not count, pass its
                `last_sequence`.

        Returns:
            The number of deleted events.
        """
        return self._change(lambda streams: streams.purge(name, topic, until))

    def preview_remove(self, name: str) -> Loss:
        """What `remove` would delete."""
        return self._change(lambda streams: streams.preview_remove(name))

    def remove(self, name: str) -> None:
        """Remove a stream: its events, groups, dead letters, and texts of `hub.kv_put`.

        Stop all hubs, processes and servers that use the stream before. Those that still run create it again.
        """
        self._change(lambda streams: streams.remove(name))

    def _change(self, change: Callable[[StreamChanges], Coroutine[Any, Any, T]]) -> T:
        return self._caller.call(change(StreamChanges(self._caller.link)), _CHANGE_TIMEOUT_S)


class Groups:
    """The groups of a stream. Calling it returns the state of each, sorted by name.

    All methods wait for the server. They raise `NotFoundError` if the group does not exist, `StreamError` if JetStream
    rejects the request, `HubConnectionError` if the hub is not connected or JetStream does not answer, and `ValueError`
    for an invalid argument.
    """

    def __init__(self, caller: LinkOwner, subjects: Subjects) -> None:
        self._caller = caller
        self._subjects = subjects

    def __call__(self, interval: float = 0.0) -> tuple[GroupState, ...]:
        """The groups, with the time of their oldest event that is not handled.

        Args:
            interval: seconds for which the rate is measured; 0 measures none.
        """
        return self._call(lambda groups: groups.list(interval), _LIST_TIMEOUT_S + max(0.0, interval))

    def pause(self, group: str) -> None:
        """Deliver no events to the processes of a group on all machines, until `resume`.

        Running handlers finish. Within ten seconds, processes also start no further events that they have received
        before. The group stays paused when processes or servers restart.
        """
        self._call(lambda groups: groups.pause(group))

    def resume(self, group: str) -> None:
        """Let a paused group continue where it was."""
        self._call(lambda groups: groups.resume(group))

    def preview_reset(self, group: str, to: Place) -> GroupReset:
        """What `reset` would change."""
        return self._call(lambda groups: groups.preview_reset(group, to))

    def reset(self, group: str, to: Place) -> int:
        """Let a group continue at another place of the stream, while its processes run or not.

        The group handles all of its events from there on, also those that it has handled before, with `once=True` too.
        Handlers that run meanwhile finish, and their events may be handled twice. Attempts are counted from one.

        Args:
            group: its name.
            to: the first event: an aware datetime, a timedelta (how long ago, by the server's clock), a sequence, the
                id of an event, or "first". A place behind the last event is that of the next one.

        Returns:
            The sequence.
        """
        return self._call(lambda groups: groups.reset(group, to))

    def remove(self, group: str) -> None:
        """Remove a group. It does not handle its waiting and pending events; a new group of its name begins anew.

        Stop its processes before. Those that still run create the group again. Its dead letters remain.
        """
        self._call(lambda groups: groups.remove(group))

    def _call(self, ask: Callable[[StoredGroups], Coroutine[Any, Any, T]], timeout: float = _CHANGE_TIMEOUT_S) -> T:
        return self._caller.call(ask(StoredGroups(self._caller.link, self._subjects)), timeout)
