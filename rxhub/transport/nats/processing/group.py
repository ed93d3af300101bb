"""A consumer group: one durable consumer, whose settings all processes share.

The settings are in the consumer's metadata, and a process with other settings is rejected: two programs that select
different events would skip each other's events. After `replace=True`, processes with the old settings notice it because
they read the settings before they skip an event (`Group.confirm`).

A group can be paused: the server delivers nothing, and a process starts no further handlers when it notices. A group
can be reset to another place (`rxhub.transport.nats.groups`): the consumer is recreated with a new `RESET_ID` in its
metadata, and all processes forget what they hold and have acknowledged.

A consumer can be lost: deleted by hand, or with the only server that stored it. A new one begins behind the ack floor
of the last response: events that were handled above it are delivered again, and none is missed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from rxhub.errors import GroupError, StreamError
from rxhub.expression import parse
from rxhub.transport.nats.processing.options import Since, WorkerOptions
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.reset_records import RESET_ID, ResetRecords, reset_id_of
from rxhub.transport.nats.streams import NO_CONSUMER, dead_letter_config, ensure_stream, server_time, stream_config
from rxhub.transport.nats.subject_filters import merge, subjects_of
from rxhub.transport.nats.subjects import Subjects, consumer_name

__all__ = ["ACK_WAIT_S", "CHECK_SHARE", "IN_PROGRESS_SHARE", "PINNED", "PIN_TIMEOUT_S", "Group"]

ACK_WAIT_S = 45.0
"""The server redelivers a message that no process has reported as in progress for this time.

A handler that holds the GIL keeps its process from reporting. Reports are due every `IN_PROGRESS_SHARE` of this time,
so a process may be silent for 40 seconds.
"""

IN_PROGRESS_SHARE = 1 / 9  # share of `ACK_WAIT_S` between two reports that messages are in progress
CHECK_SHARE = 2 / 9  # share of `ACK_WAIT_S` between two checks of the group's settings and floor
PIN_TIMEOUT_S = 10.0  # with ordering by key, another process takes over from one that has not pulled for this time
PINNED = "ordered"  # the priority group of processes that order by key
_PREFETCH_BY_KEY = 1_024
_PREFETCH = 512
_UNLIMITED = -1
# Shares of the limit at which a group warns, and below which it may warn again.
_WARN_SHARE, _RESET_SHARE = 0.8, 0.5
_CONSUMER_EXISTS = 10148
_LIMIT_EXCEEDED = 10121
_NANOSECONDS = 1_000_000_000
# Of our settings in the consumer's metadata.
_PREFIX = "rxhub."
_MAX_VALUE_LENGTH = 2_000

logger = logging.getLogger("rxhub")


class Group:
    """A group, as one process sees it.

    Its methods raise StreamError if JetStream refuses a request, and HubConnectionError if the server does not answer.
    """

    def __init__(self, link: ReconnectingClient, subjects: Subjects, options: WorkerOptions) -> None:
        self.link = link
        self.subjects = subjects
        self.stream = subjects.stream
        self.options = options
        self.name = name = options.group
        self.consumer = consumer_name(name)
        by_key, sequential = options.key is not None, options.sequential
        # How many messages one process may hold.
        self.prefetch = 1 if sequential else _PREFETCH_BY_KEY if by_key else _PREFETCH
        self.replicas = 1  # the number of servers that store each event, once the streams exist
        self.floor = 0  # all messages up to this sequence are acknowledged, according to the last response
        self.info: Mapping[str, Any] = {}  # the last response, once it is joined
        self.is_paused = False  # according to the last response
        self.on_paused: Callable[[bool], object] = _ignore
        self.on_reset: Callable[[], object] = lambda: None
        self._reset_id: str | None = None
        self._pause_until: str | None = None
        self._records = ResetRecords(link, self.stream)
        self._created = ""
        self._has_warned = False
        self._metadata = _settings(options)
        self._config: dict[str, Any] = {
            "description": f"Processes of the group {name}."[:1000],
            "ack_policy": "explicit",
            "ack_wait": int(ACK_WAIT_S * _NANOSECONDS),
            "max_deliver": -1,
            "max_ack_pending": 1 if sequential else options.max_waiting if by_key else _UNLIMITED,
            "filter_subjects": merge([*subjects_of(subjects, parse(options.subscription)), subjects.retries_of(name)]),
            "metadata": self._metadata,
        }
        if by_key:
            self._config |= {
                "priority_groups": [PINNED],
                "priority_policy": "pinned_client",
                "priority_timeout": int(PIN_TIMEOUT_S * _NANOSECONDS),
            }

    @property
    def reset_id(self) -> str:
        """The id of the latest reset, according to the last response; empty if there is none."""
        return self._reset_id or ""

    async def create_streams(self) -> bool:
        """Create missing streams; whether the stream of events was recreated since the last call."""
        link = self.link
        found = await ensure_stream(link, stream_config(self.stream, replicas=link.replicas))
        self.replicas = found["config"]["num_replicas"]
        await ensure_stream(link, dead_letter_config(self.stream, replicas=self.replicas))
        before, self._created = self._created, found["created"]
        is_new = before not in ("", self._created)
        if is_new:
            self.floor = 0
        return is_new

    async def join(self) -> None:
        """Join the group, which is created if it does not exist; an existing one continues where it is.

        Raises GroupError if it has other settings, and `replace` is False, or is not ours, ValueError if `since` is not
        valid.
        """
        since = self.options.since
        start = _start_config(since, await self._now() if isinstance(since, timedelta) else None)
        try:
            config = (await self._info())["config"]
        except StreamError as error:
            if error.number != NO_CONSUMER:
                raise
            if not await self._complete_reset() and await self._create(start):
                return
            config = (await self._info())["config"]
        self._check(config)
        if not _is_up_to_date(config, self._config):
            await self._update(config)

    async def restore(self) -> None:
        """Recreate a lost consumer behind the floor, or `confirm` the one that another process has created.

        If the consumer was deleted for a reset, recreate it where the group has to continue.
        """
        if await self._complete_reset() or not await self._create(_start_config(self.floor + 1)):
            await self.confirm()

    async def confirm(self) -> None:
        """Read the floor of the group. Raises GroupError if it has other settings."""
        present = _metadata_of((await self._info())["config"])
        if present != self._metadata:
            raise GroupError(
                f"This process leaves the group {self.name}, because the settings of the group were replaced. This "
                f"process has:\n{_differences(present, self._metadata)}"
            )

    async def count_missing(self, held: Collection[int]) -> int:
        """The number of messages that were delivered, not acknowledged, and are not among the sequences `held`.

        `held` is read after the response, and may contain messages that the server delivered after it had counted.
        Those are ignored, because each of them would hide a missing one.
        """
        info = await self._info()
        first, last = info["ack_floor"]["stream_seq"], info["delivered"]["stream_seq"]
        return info["num_ack_pending"] - sum(first < sequence <= last for sequence in held)

    async def unpin(self) -> None:
        """Let another process order by key at once."""
        await self.link.js_request(f"CONSUMER.UNPIN.{self.stream}.{self.consumer}", {"group": PINNED})

    async def _now(self) -> datetime:
        # The server's clock, because the server timestamps the events.
        return server_time(await self.link.js_request(f"STREAM.INFO.{self.stream}"))

    async def _info(self) -> dict[str, Any]:
        return self._observe(await self.link.js_request(f"CONSUMER.INFO.{self.stream}.{self.consumer}"))

    async def _create(self, start: Mapping[str, Any]) -> bool:
        """Create the consumer; False if it exists with other settings or another start."""
        config = {**self._config, **start, "durable_name": self.consumer, "replay_policy": "instant"}
        # A group that is lost stays paused, and was not reset.
        if self._pause_until is not None:
            config["pause_until"] = self._pause_until
        if self._reset_id:
            config["metadata"] = self._metadata | {RESET_ID: self._reset_id}
        return await self._try_to_create(config)

    async def _complete_reset(self) -> bool:
        """Complete a reset of the group that has deleted the consumer; False if there is none."""
        config = await self._records.get(self.consumer)
        if config is None:
            return False
        logger.info("The group %s is being reset.", self.name)
        await self._try_to_create(config)
        return True

    async def _try_to_create(self, config: Mapping[str, Any]) -> bool:
        try:
            await self._write(config, "create")
        except StreamError as error:
            if error.number != _CONSUMER_EXISTS:
                raise
            return False
        return True

    async def _write(self, config: Mapping[str, Any], action: str) -> None:
        request = {"stream_name": self.stream, "config": config, "action": action}
        try:
            self._observe(await self.link.js_request(f"CONSUMER.CREATE.{self.stream}.{self.consumer}", request))
        except StreamError as error:
            # The limit that the operator of the server has set for the stream or the account.
            limit = error.description.rpartition(" ")[2]
            if error.number != _LIMIT_EXCEEDED or not limit.isdecimal() or config["max_ack_pending"] == int(limit):
                raise
            self._config["max_ack_pending"] = int(limit)
            await self._write({**config, "max_ack_pending": int(limit)}, action)

    def _observe(self, info: dict[str, Any]) -> dict[str, Any]:
        # Not the maximum: a user may have recreated the consumer with an earlier start.
        self.floor = info["ack_floor"]["stream_seq"]
        self.info = info
        config = info["config"]
        self._pause_until = config.get("pause_until")
        reset_id = reset_id_of(config)
        before, self._reset_id = self._reset_id, reset_id
        if before not in (None, reset_id):
            logger.info("The group %s was reset.", self.name)
            self.on_reset()
        if (is_paused := info.get("paused", False)) != self.is_paused:
            self.is_paused = is_paused
            logger.info("The group %s %s.", self.name, "is paused" if is_paused else "continues")
            self.on_paused(is_paused)
        pending, limit = info.get("num_ack_pending", 0), info["config"].get("max_ack_pending", 0)
        if limit <= 1 or pending < _RESET_SHARE * limit:
            self._has_warned = False
        elif pending >= _WARN_SHARE * limit and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "The group %s has %s of at most %s events in flight, including those that wait for a retry or for "
                "others of their key. At the limit it receives no further events. Find out why events wait, or raise "
                "max_waiting=… and the server's max_ack_pending.",
                self.name,
                f"{pending:,}",
                f"{limit:,}",
            )
        return info

    def _check(self, config: Mapping[str, Any]) -> None:
        present = _metadata_of(config)
        if present.get("rxhub.group") != _bounded(self.name) or config.get("ack_policy") != "explicit":
            raise GroupError(
                f"The consumer {self.consumer} of the stream {self.stream} is not a group of rxhub: another program "
                "created it, with an acknowledgement policy or a start that cannot be changed. Choose another "
                "group=…, or delete that consumer."
            )
        if present != self._metadata and not self.options.replace:
            raise GroupError(
                f"The group {self.name} exists with other settings:\n{_differences(present, self._metadata)}\n"
                "All processes of a group need the same settings. Choose another group=…, or pass replace=True to "
                "replace the settings; processes with the old settings will stop."
            )

    async def _update(self, config: Mapping[str, Any]) -> None:
        # Fields that are not ours are kept, in particular the start, which cannot be changed.
        kept = {name: value for name, value in config.items() if not name.startswith(("priority_", "filter_subject"))}
        metadata = _metadata_of(config, ours=False) | self._metadata
        try:
            await self._write(kept | self._config | {"metadata": metadata}, "update")
        except StreamError as error:
            raise GroupError(
                f"The settings of the group {self.name} cannot be changed: {error.description}. Choose another "
                f"group=…, which begins at since=…, or delete the consumer {self.consumer} of the stream "
                f"{self.stream} when all of its events in flight have been handled."
            ) from error
        logger.info("The group %s has new settings: %s", self.name, _differences({}, self._metadata))


def _ignore(_is_paused: bool) -> None:
    """Nothing waits for a pause."""


def _is_up_to_date(config: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether a consumer's configuration has all of our values; the server omits empty ones."""
    found = dict(config)
    if single := found.get("filter_subject"):
        found["filter_subjects"] = [single]
    found["metadata"] = _metadata_of(config)
    found["filter_subjects"] = sorted(found.get("filter_subjects") or ())
    if found.get("priority_policy", "none") != "none" and "priority_policy" not in ours:
        return False
    return all(found.get(name) == value for name, value in ours.items())


def _settings(options: WorkerOptions) -> dict[str, str]:
    """The settings on which all processes of a group agree, as metadata of its consumer."""
    order = "sequential" if options.sequential else f"key={options.key}" if options.key is not None else "none"
    return {
        f"{_PREFIX}group": _bounded(options.group),
        f"{_PREFIX}subscription": _bounded(options.subscription),
        f"{_PREFIX}order": _bounded(order),
        f"{_PREFIX}once": str(options.once).lower(),
    }


def _metadata_of(config: Mapping[str, Any], *, ours: bool = True) -> dict[str, str]:
    """The metadata of a consumer: rxhub's settings, or with `ours=False` those of other programs."""
    metadata: Mapping[str, str] = config.get("metadata") or {}
    if ours:
        return {name: value for name, value in metadata.items() if name.startswith(_PREFIX)}
    return {name: value for name, value in metadata.items() if not name.startswith(("_nats", _PREFIX))}


def _differences(present: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """The settings in `wanted` that differ from those in `present`, one per line."""
    return "\n".join(
        f"  {name.removeprefix(_PREFIX)}: {value}" + (f" (the group has: {present.get(name)})" if present else "")
        for name, value in wanted.items()
        if present.get(name) != value
    )


def _bounded(text: str) -> str:
    """A text of bounded length that is unique for each text."""
    if len(text) <= _MAX_VALUE_LENGTH:
        return text
    return f"{text[:_MAX_VALUE_LENGTH]}… sha256:{sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def _start_config(since: Since, now: datetime | None = None) -> dict[str, Any]:
    """Where a consumer begins, in its configuration; a timedelta needs `now`, the server's time."""
    match since:
        case None:
            return {"deliver_policy": "new"}
        case "first":
            return {"deliver_policy": "all"}
        case int() if since > 0 and not isinstance(since, bool):
            return {"deliver_policy": "by_start_sequence", "opt_start_seq": since}
        case timedelta():
            try:
                return _start_config((now or datetime.now(UTC)) - since)
            except OverflowError:
                return _start_config("first")
        case datetime() if since.tzinfo is not None:
            return {"deliver_policy": "by_start_time", "opt_start_time": since.astimezone(UTC).isoformat()}
        case _:
            raise ValueError(
                "since must be an aware datetime, a timedelta (how long ago), a sequence of the stream from 1, or "
                f'"first", but {since!r} was given.'
            )
