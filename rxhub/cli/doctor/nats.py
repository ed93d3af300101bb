"""Check a NATS system: servers, credentials, JetStream and the stream. The checks change nothing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from importlib.util import find_spec
from time import time
from typing import TYPE_CHECKING, Any

from rxhub.cli.credentials import ServerAccess
from rxhub.cli.doctor.diagnosis import Finding, compare_clocks, note, ok, problem, unreachable
from rxhub.cli.units import format_size
from rxhub.errors import HubConnectionError, StreamError
from rxhub.text.safe_repr import one_line, safe_repr
from rxhub.transport.nats.options import NatsOptions

if TYPE_CHECKING:
    from rxhub.transport.nats.connection import NatsConnection
    from rxhub.transport.nats.subjects import Subjects
    from rxhub.transport.nats.unreachable import NatsUnreachable

__all__ = ["check_nats", "check_sequences"]

_TIMEOUT_S = 3.0
"""JetStream does not answer requests without permission."""
_NO_JETSTREAM = 10039
"""JetStream's error code for "JetStream not enabled for account"."""


def check_nats(access: ServerAccess, options: str, stream: str = "events") -> Iterator[Finding]:
    """Check each server of a NATS system, and JetStream and the stream on the first that accepts the connection.

    The password or token is sent to the servers, and never printed. Remedies name the `options` for credentials.
    """
    from rxhub.transport.nats.subjects import Subjects

    try:
        address = NatsOptions(*access)
    except ValueError as error:
        yield problem(_sentence(error), "Use nats://host:port, or nats://one,two,three.")
        return
    try:
        subjects = Subjects(stream)
    except ValueError as error:
        yield problem(_sentence(error), "Set the name of the stream with --stream.")
        return
    if find_spec("nats") is None:
        found = f"{', '.join(address.servers)} cannot be checked: nats-py is not installed"
        yield problem(found, "pip install 'rxhub[nats]'")
        return
    yield from asyncio.run(_check_servers(address, options, subjects))


async def _check_servers(address: NatsOptions, options: str, subjects: Subjects) -> list[Finding]:
    from rxhub.transport.nats.connection import NatsConnection
    from rxhub.transport.nats.unreachable import NatsUnreachable

    results = await asyncio.gather(
        *[NatsConnection.open(server, address, "rxhub doctor") for server in address.servers], return_exceptions=True
    )
    connections = [connection for connection in results if isinstance(connection, NatsConnection)]
    findings: list[Finding] = []
    try:
        for result in results:
            if isinstance(result, NatsConnection):
                findings += _accepted(result, address)
            elif isinstance(result, NatsUnreachable):
                found = _unreached(result, address, options)
                meanwhile = " Meanwhile, hubs use the other servers." if connections else ""
                findings.append(found._replace(remedy=found.remedy + meanwhile))
            else:
                raise result
        if connections:
            findings += await _check_jetstream(connections[0], subjects)
    finally:
        await asyncio.gather(*[connection.close() for connection in connections])
    return findings


def _accepted(connection: NatsConnection, address: NatsOptions) -> Iterator[Finding]:
    encryption = "with" if connection.is_encrypted else "without"
    yield ok(f"{connection.server} answers: nats-server {connection.server_version}, {encryption} TLS")
    if connection.requires_credentials and address.login:
        yield ok(f"{address.login} is accepted")
    elif address.login:
        yield note(f"the server requires no login, so {address.login} was not checked")
    else:
        yield note("no user and password were given, and the server requires none")


def _unreached(error: NatsUnreachable, address: NatsOptions, options: str) -> Finding:
    """Return the reason of a failed connection, and its remedy."""
    from nats.errors import SecureConnWantedError

    from rxhub.transport.nats.login import LoginError

    if "authorization" in error.why.lower():
        return _refused(error.server, address, options)
    why = error.why
    match error.__cause__:
        case LoginError():
            return problem(f"{error.server} was not checked: {why}", "Check the file, and who may read it.")
        case SecureConnWantedError():
            found = "the server does not offer TLS; no credentials were sent"
            remedy = "Use nats:// in a trusted network, or give the server a certificate."
        case ConnectionResetError():
            found = "the server closed the connection"
            remedy = f"A NATS server may have rejected the credentials. Check {options}, and its log."
        case TimeoutError():
            found, remedy = why, f"Check the port. A firewall may drop packets. {error.remedy}".rstrip()
        case OSError():
            found, remedy = why, error.remedy or "Check the URL, and the log of the server."
        case _:
            found, remedy = f"the answer is not NATS ({why})", "Check the port for clients. Default: port 4222."
    finding = unreachable(error.server, error.__cause__, found, remedy, " `nats-server -js` starts one.")
    is_about_tls = isinstance(error.__cause__, ssl.SSLError) and error.remedy
    return finding._replace(remedy=error.remedy) if is_about_tls else finding


def _refused(server: str, address: NatsOptions, options: str) -> Finding:
    user, remedy = safe_repr(address.user, 60), f"Use {options}."
    match address.user, address.password:
        case None, None if address.token is not None:
            found = "the token is wrong"
            remedy = f"Check the token. To use a user and a password: {options}."
        case None, None if address.login:
            found = f"{address.login} is not accepted"
            remedy = "Check that it has not expired, and belongs to this NATS system."
        case str(), str():
            found = f"the password of {user} is wrong, or the user does not exist"
            remedy = "Check that both belong to this NATS system. The configuration of the server lists its users."
        case str(), None:
            found = f"the server requires a password for {user}"
        case _:
            found = "the server requires a login"
            remedy = f"Use {options}; or another login, such as --nats-credentials."
    return problem(f"{server} answers, but rejects the connection: {found}", remedy)


async def _check_jetstream(connection: NatsConnection, subjects: Subjects) -> list[Finding]:
    """Check JetStream, the stream and the clock."""
    from rxhub.transport.nats.streams import NO_STREAM

    jetstream = ok("JetStream is enabled and answers")
    before = time()
    try:
        info = await connection.js_request(f"STREAM.INFO.{subjects.stream}", timeout=_TIMEOUT_S)
    except StreamError as error:
        if error.number == NO_STREAM:
            clock = compare_clocks(None, 0.0, before, time())
            return [jetstream, await _check_missing_stream(connection, subjects.stream), clock]
        if error.number == _NO_JETSTREAM:
            remedy = "Enable it for this account (`jetstream: enabled`), or connect as a user of another account."
            return [problem("JetStream is not enabled for the account of this user", remedy)]
        found = f"JetStream reports an error: {one_line(error.description, 200)} ({error.number})"
        return [problem(found, "Check the logs of the servers, and that most of them run.")]
    except HubConnectionError as error:
        return [_unanswered(error, subjects.stream)]
    clock = compare_clocks(_time(info), 0.0, before, time())
    findings = [jetstream, _check_stream(info, subjects.stream), *check_sequences(subjects.stream, info["state"])]
    with suppress(StreamError, HubConnectionError):  # there are none yet, or the user may not read them
        dead = await connection.js_request(f"STREAM.INFO.{subjects.dead_stream}", timeout=_TIMEOUT_S)
        findings += check_sequences(subjects.dead_stream, dead["state"])
    return [*findings, clock]


# Measured with nats-server 2.15: after a failed write, it still answers STREAM.INFO as before, and it rejects a message
# with a wrong expected sequence or a known id before it notices the failure.
_UNKNOWN = (
    "Not checked: whether its disk can be written to, because that would store an event. Use /healthz of nats-server, "
    "or `rxhub doctor --server` for a server of rxhub."
)


def _unanswered(error: HubConnectionError, stream: str) -> Finding:
    from nats.errors import NoRespondersError

    if isinstance(error.__context__, NoRespondersError):  # hidden from tracebacks
        remedy = "Start nats-server with -js or with `jetstream {}` in its configuration. Most of a cluster must run."
        return problem("JetStream is not enabled, or has no leader", remedy)
    if "permissions" in str(error):
        remedy = "Grant the permissions that the page on clusters lists, or select your stream with --stream."
        return problem(f"this user has no permission to read the stream {stream}", remedy)
    return problem(f"JetStream does not answer: {one_line(str(error), 200)}", "Check the logs of the servers.")


def _check_stream(info: dict[str, Any], name: str) -> Finding:
    """Check the configuration of the stream."""
    from rxhub.transport.nats.streams import config_conflict, stream_config

    config, state = info["config"], info["state"]
    if (reason := config_conflict(config, stream_config(name))) is not None:
        return problem(reason.found.removesuffix("."), reason.remedy)
    room = f" of {format_size(config['max_bytes'])}" if config.get("max_bytes", -1) >= 0 else ""
    last = f", last stored at {state['last_ts'][:19]}Z" if state["messages"] else ""
    size = f"{state['messages']:,} events, {format_size(state['bytes'])}{room}"
    return ok(f"the stream {name} exists: {size}{last}; replicas: {config['num_replicas']}", _UNKNOWN)


def check_sequences(name: str, state: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare the number of messages of a stream with its sequence numbers, in the `state` that JetStream reports.

    JetStream numbers messages without gaps, and counts those deleted between the first and the last one.
    """
    messages, deleted = int(state["messages"]), int(state.get("num_deleted", 0))
    first, last = max(1, int(state["first_seq"])), int(state["last_seq"])
    damage: dict[str, Any] = state.get("lost") or {}
    lost = len(damage.get("msgs") or ())
    if lost:
        yield problem(
            f"the stream {name} has lost {lost:,} messages: NATS could not read them from its disk",
            "Check the disk and the log of nats-server. Restore a backup, or publish these events again.",
        )
    expected = last - first + 1
    if messages + deleted == expected:
        if messages:
            counts = f"{messages:,} messages and {deleted:,} deleted"
            yield ok(f"the sequence numbers {first:,} to {last:,} of the stream {name} match: {counts}")
        return
    yield problem(
        f"the stream {name} reports {messages:,} messages and {deleted:,} deleted, but its sequence numbers {first:,} "
        f"to {last:,} are {expected:,}",
        "The index of the stream on this server is damaged, so a replay may skip messages. Stop nats-server, copy the "
        "directory of the stream as a backup, delete msgs/index.db in it, and start nats-server: it reads all messages "
        "again.",
    )


async def _check_missing_stream(connection: NatsConnection, name: str) -> Finding:
    """Check whether the missing stream could be created."""
    from rxhub.transport.nats.streams import stream_states

    missing = f"there is no stream {name}"
    try:
        # JetStream rejects an empty request as invalid if the user may create a stream.
        await connection.js_request(f"STREAM.CREATE.{name}", timeout=_TIMEOUT_S)
    except StreamError:
        pass
    except HubConnectionError as error:
        denied = "permissions" in str(error)
        reason = (
            "this user has no permission to create it"
            if denied
            else "JetStream did not answer whether it can be created"
        )
        remedy = "Ask the operator to create it with `rxhub streams add`, or select an existing stream with --stream."
        return problem(f"{missing}, and {reason}", remedy)
    try:
        account = await connection.js_request("INFO", timeout=_TIMEOUT_S)
        names = [state.name for state in await stream_states(connection)]
    except (StreamError, HubConnectionError):
        account, names = {}, []  # hubs need no permission for these
    most = account.get("limits", {}).get("max_streams", -1)
    if 0 <= most <= account.get("streams", 0):
        found = f"{missing}, and its account has reached its limit of {most} streams"
        return problem(found, "Raise max_streams of the account, or select an existing stream.")
    others = f" Existing streams: {', '.join(names)}." if names else ""
    remedy = f"The first hub that connects creates it, as does `rxhub streams add {name}`.{others}"
    return note(f"{missing} yet; it can be created", remedy)


def _time(info: dict[str, Any]) -> float | None:
    """Return the time of the answer. Servers before 2.10 do not send it."""
    try:
        return datetime.fromisoformat(str(info.get("ts"))).timestamp()
    except (ValueError, OverflowError):
        return None


def _sentence(error: ValueError) -> str:
    return one_line(str(error).removesuffix("."), 200)
