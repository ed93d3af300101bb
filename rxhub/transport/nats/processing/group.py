"""A group of processes that share the events of a subscription: one durable consumer, on whose terms all agree.

A group begins when it is first joined: then its consumer is made, and from then on nothing is missed, whether a process
of it runs or not. The terms stand in the consumer's metadata. Who comes with others is refused: two programs that take
different events out of one group would each pass over what the other one wants.

Who is to replace the terms does so while others may still run on the old ones. They notice when they pass over an
event: before one is acknowledged unhandled, the terms are read again (`Group.confirm`).

A consumer can be lost: deleted by hand, or with the only server that had it. What it knew, which events are done with,
is lost with it, and no process knows that of what others have done or of what waits for its next attempt. So whatever
is read of the consumer, its floor is noted, behind which everything is done with; a new one begins there. What was
done above it comes again, and nothing is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, NamedTuple, TypeAlias

from rxhub.errors import GroupError, StreamError
from rxhub.expression import parse
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.streams import NO_CONSUMER, dead_letter_config, ensure_stream, server_time, stream_config
from rxhub.transport.nats.subject_filters import merge, subjects_of
from rxhub.transport.nats.subjects import Subjects, consumer_name

__all__ = [
    "ACK_WAIT",
    "CHECK_SHARE",
    "IN_PROGRESS_SHARE",
    "MAX_WAITING",
    "PINNED",
    "PIN_TIMEOUT",
    "Group",
    "GroupSettings",
    "Since",
]

ACK_WAIT = 45.0
"""Seconds after which the server redelivers a message that no process reports as in progress.

A handler that holds the GIL keeps its process from reporting anything. Reports are due every `IN_PROGRESS_SHARE` of
this time, so a process may be silent for 40 seconds.
"""

IN_PROGRESS_SHARE = 1 / 9
"""Share of `ACK_WAIT` between two reports that messages are in progress."""

CHECK_SHARE = 2 / 9
"""Share of `ACK_WAIT` between two looks at the group's terms and floor."""

PIN_TIMEOUT = 10.0
"""Seconds after which a process that orders by key and does not ask for events is followed by another one."""

PINNED = "ordered"
"""The priority group of processes that order by key."""

Since: TypeAlias = datetime | timedelta | int | Literal["first"] | None
"""Where a group begins: a moment, so long ago, a sequence of the stream, its first event; None is now."""

MAX_WAITING = 100_000
"""Default for how many events a group that orders by key may have under way, those that wait for others included.

Every one that waits costs the active process about 1 KB. Without a key nothing is limited: an event that waits for
a retry costs the NATS server some 250 bytes, and the process nothing.
"""

# Messages that one process that orders by key may hold in memory.
_AHEAD_BY_KEY = 1_024
_UNLIMITED = -1
# Shares of the limit at which a group warns, and below which it may warn again.
_NEAR, _FAR = 0.8, 0.5
_LONGEST = 2_000
_CONSUMER_EXISTS = 10148
_LIMIT_EXCEEDED = 10121
_NANOSECONDS = 1_000_000_000
_PREFIX = "rxhub."

logger = logging.getLogger("rxhub")


class GroupSettings(NamedTuple):
    """What all processes of a group agree on.

    Attributes:
        subscription: which events.
        sequential: whether one event at a time is handled.
        key: the path whose values are handled in order; None if there is no such order.
        once: whether handled ids are stored.
    """

    subscription: str
    sequential: bool = False
    key: str | None = None
    once: bool = False

    def to_metadata(self, group: str) -> dict[str, str]:
        """As a consumer's metadata."""
        order = "sequential" if self.sequential else f"key={self.key}" if self.key is not None else "none"
        own = {"group": group, "subscription": self.subscription, "order": order, "once": str(self.once).lower()}
        return {_PREFIX + name: _bounded(value) for name, value in own.items()}


class Group:
    """One group, as one process sees it.

    Args:
        link: to the servers.
        subjects: of the stream.
        name: of the group.
        terms: what it agrees on.
        max_waiting: how many messages may be under way if the group orders by key.

    Attributes:
        name: as given.
        consumer: its name in NATS.
        ahead: how many messages one process may hold at most.
        replicas: on how many servers events are stored, once the streams are there.
        floor: the sequence up to which the group is done with everything, as it was last heard.

    Raises:
        ExpressionError: if the subscription does not parse.
    """

    def __init__(
        self,
        link: ReconnectingClient,
        subjects: Subjects,
        name: str,
        terms: GroupSettings,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self.name = name
        self.consumer = consumer_name(name)
        self.ahead = 1 if terms.sequential else 512 if terms.key is None else _AHEAD_BY_KEY
        self.replicas = 1
        self.floor = 0
        self._link = link
        self._created = ""
        self._has_warned = False
        self._stream = subjects.stream
        self._metadata = terms.to_metadata(name)
        retries = subjects.retries_of(name)
        wanted = merge([*subjects_of(subjects, parse(terms.subscription)), retries])
        self._config: dict[str, Any] = {
            "description": f"Processes of the group {name}."[:1000],
            "ack_policy": "explicit",
            "ack_wait": int(ACK_WAIT * _NANOSECONDS),
            "max_deliver": -1,
            "max_ack_pending": 1 if terms.sequential else _UNLIMITED if terms.key is None else max_waiting,
            "filter_subjects": wanted,
            "metadata": self._metadata,
        }
        if terms.key is not None:
            self._config |= {
                "priority_groups": [PINNED],
                "priority_policy": "pinned_client",
                "priority_timeout": int(PIN_TIMEOUT * _NANOSECONDS),
            }

    async def make_streams(self) -> bool:
        """Make the streams that are missing; whether the events' is another one than the last time.

        Raises:
            StreamError: if JetStream refuses it.
            HubConnectionError: if nobody answers.
        """
        link = self._link
        found = await ensure_stream(link, stream_config(self._stream, replicas=link.replicas))
        self.replicas = found["config"]["num_replicas"]
        await ensure_stream(link, dead_letter_config(self._stream, replicas=self.replicas))
        before, self._created = self._created, found["created"]
        is_another = before not in ("", self._created)
        if is_another:
            self.floor = 0
        return is_another

    async def join(self, since: Since = None, replace: bool = False) -> None:
        """Make the group if it is not there, or be one of it.

        Args:
            since: where a new group begins. One that is there goes on where it is.
            replace: whether our terms replace those of a group that has others.

        Raises:
            GroupError: if the group has other terms, or what is called so in NATS is no group of ours.
            StreamError: if JetStream refuses it.
            HubConnectionError: if nobody answers.
            ValueError: if a group cannot begin there.
        """
        beginning = _beginning(since, await self._now() if isinstance(since, timedelta) else None)
        try:
            found = await self._info()
        except StreamError as error:
            if error.number != NO_CONSUMER:
                raise
            if await self._create(beginning):
                return
            found = await self._info()
        config = found["config"]
        self._check(config, replace)
        if not _agrees(config, self._config):
            await self._update(config)

    async def restore(self) -> None:
        """Make a group that was lost again, behind its floor, or be one of it if another process has.

        Raises:
            GroupError: if the other one has other terms.
            StreamError: if JetStream refuses it.
            HubConnectionError: if nobody answers.
        """
        if not await self._create(_beginning(self.floor + 1)):
            await self.confirm()

    async def confirm(self) -> None:
        """Learn how far the group is, and that it still has our terms.

        Raises:
            GroupError: if it has others.
            StreamError: if JetStream does not tell.
            HubConnectionError: if nobody answers.
        """
        present = _own(await self._info())
        if present != self._metadata:
            raise GroupError(
                f"The group {self.name} has other terms by now, so this process, which was on these, ends:\n"
                f"{_differences(present, self._metadata)}"
            )

    async def under_way(self) -> int:
        """How many messages are with some process of the group and have not been acknowledged."""
        return (await self._info())["num_ack_pending"]

    async def resign(self) -> None:
        """Let another process order by key at once."""
        await self._link.js_request(f"CONSUMER.UNPIN.{self._stream}.{self.consumer}", {"group": PINNED})

    async def _now(self) -> datetime:
        # The server's clock, which stamps the events.
        return server_time(await self._link.js_request(f"STREAM.INFO.{self._stream}"))

    async def _info(self) -> dict[str, Any]:
        return self._noted(await self._link.js_request(f"CONSUMER.INFO.{self._stream}.{self.consumer}"))

    async def _create(self, beginning: Mapping[str, Any]) -> bool:
        """Make the consumer; whether it was not there."""
        config = {**self._config, **beginning, "durable_name": self.consumer, "replay_policy": "instant"}
        try:
            await self._write(config, "create")
        except StreamError as refused:
            # Another process was quicker, with other terms or another beginning.
            if refused.number != _CONSUMER_EXISTS:
                raise
            return False
        return True

    async def _write(self, config: Mapping[str, Any], action: str) -> None:
        request = {"stream_name": self._stream, "config": config, "action": action}
        try:
            self._noted(await self._link.js_request(f"CONSUMER.CREATE.{self._stream}.{self.consumer}", request))
        except StreamError as refused:
            most = refused.description.rpartition(" ")[2]
            if refused.number != _LIMIT_EXCEEDED or not most.isdecimal() or config["max_ack_pending"] == int(most):
                raise
            # Set by whoever runs the server, for the stream or the account.
            self._config["max_ack_pending"] = int(most)
            await self._write({**config, "max_ack_pending": int(most)}, action)

    def _noted(self, info: dict[str, Any]) -> dict[str, Any]:
        # Not the highest ever: somebody may have made the consumer anew to have it begin earlier.
        self.floor = info["ack_floor"]["stream_seq"]
        self._warn(info)
        return info

    def _warn(self, info: Mapping[str, Any]) -> None:
        pending, limit = info.get("num_ack_pending", 0), info["config"].get("max_ack_pending", 0)
        if limit <= 1 or pending < _FAR * limit:
            self._has_warned = False
        elif pending >= _NEAR * limit and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "The group %s has %s of at most %s events under way, those that wait for a retry or for others of "
                "their key included. At the limit it gets no further events. See why events wait, or raise "
                "max_waiting=… and the server's max_ack_pending.",
                self.name,
                f"{pending:,}",
                f"{limit:,}",
            )

    def _check(self, config: Mapping[str, Any], replace: bool) -> None:
        present = _own({"config": config})
        if present.get(f"{_PREFIX}group") != _bounded(self.name) or config.get("ack_policy") != "explicit":
            raise GroupError(
                f"The stream {self._stream} has a consumer {self.consumer} which is no group of rxhub's: it was made "
                "by another program, with an acknowledgement policy or a beginning that cannot be changed. Choose "
                "another group=…, or delete that consumer."
            )
        if present != self._metadata and not replace:
            raise GroupError(
                f"The group {self.name} is there, but with other terms:\n{_differences(present, self._metadata)}\n"
                "All processes of a group do the same. Choose another group=…, or, if these terms are to hold from "
                "now on, give replace=True; processes on the old terms will end."
            )

    async def _update(self, config: Mapping[str, Any]) -> None:
        # What is not ours stays, the beginning above all, which cannot be changed.
        kept = {name: value for name, value in config.items() if not name.startswith(("priority_", "filter_subject"))}
        others: Mapping[str, str] = config.get("metadata") or {}
        metadata = {name: value for name, value in others.items() if not name.startswith(("_nats", _PREFIX))}
        changed: dict[str, Any] = kept | self._config | {"metadata": metadata | self._metadata}
        try:
            await self._write(changed, "update")
        except StreamError as error:
            raise GroupError(
                f"The group {self.name} cannot be changed: {error.description}. Choose another group=…, which begins "
                f"where since=… says, or delete the consumer {self.consumer} of the stream {self._stream} when all "
                "that is under way in it has been handled."
            ) from error
        logger.info("The group %s has new terms: %s", self.name, _differences({}, self._metadata))


def _beginning(since: Since, now: datetime | None = None) -> dict[str, Any]:
    """Where a consumer begins, as its configuration has it; `now` is the server's time."""
    match since:
        case None:
            return {"deliver_policy": "new"}
        case "first":
            return {"deliver_policy": "all"}
        case bool():
            pass
        case int() if since > 0:
            return {"deliver_policy": "by_start_sequence", "opt_start_seq": since}
        case timedelta():
            try:
                return _beginning((now or datetime.now(UTC)) - since)
            except OverflowError:
                return _beginning("first")
        case datetime() if since.tzinfo is not None:
            return {"deliver_policy": "by_start_time", "opt_start_time": since.astimezone(UTC).isoformat()}
        case _:
            pass
    raise ValueError(
        'since is an aware datetime, a timedelta (so long ago), a sequence of the stream from 1 on, or "first", but '
        f"{since!r} was given."
    )


def _own(info: Mapping[str, Any]) -> dict[str, str]:
    metadata: Mapping[str, str] = info["config"].get("metadata") or {}
    return {name: value for name, value in metadata.items() if name.startswith(_PREFIX)}


def _agrees(config: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether a consumer is as it would be if we had made it now; it lacks what is empty."""
    found = dict(config)
    if single := found.get("filter_subject"):
        found["filter_subjects"] = [single]
    found["metadata"] = _own({"config": config})
    found["filter_subjects"] = sorted(found.get("filter_subjects") or ())
    surplus = found.get("priority_policy", "none") != "none" and "priority_policy" not in ours
    return not surplus and all(found.get(name) == value for name, value in ours.items())


def _differences(present: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    lines: list[str] = []
    for name, value in wanted.items():
        was = present.get(name)
        if was != value:
            lines.append(f"  {name.removeprefix(_PREFIX)}: {value}" + (f" (the group has: {was})" if present else ""))
    return "\n".join(lines)


def _bounded(text: str) -> str:
    """A text that differs whenever the whole one does."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}… sha256:{sha256(text.encode(errors='surrogatepass')).hexdigest()}"
