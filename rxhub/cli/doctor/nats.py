"""Whether a NATS system can be reached, lets us in, has JetStream, and has or takes the stream; nothing is made."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from rxhub.cli.doctor.clock import clock
from rxhub.cli.doctor.diagnosis import Finding, Verdict
from rxhub.cli.units import format_size
from rxhub.errors import HubConnectionError, StreamError
from rxhub.text.safe_repr import one_line, safe_repr

if TYPE_CHECKING:
    from rxhub.transport.nats.address import Address
    from rxhub.transport.nats.connection import NatsConnection, NatsUnreachable
    from rxhub.transport.nats.subjects import Subjects

__all__ = ["Credentials", "system"]

_PATIENCE = 3.0
"""Seconds for an answer of JetStream; none comes to what we may not ask."""
_NO_JETSTREAM = 10039
"""JetStream's number for "JetStream not enabled for account"."""


class Credentials(NamedTuple):
    """Who asks.

    Attributes:
        user: his name.
        password: his; it is sent to the servers and told to nobody else.
        options: by which options and variables the two are given.
    """

    user: str | None
    password: str | None
    options: str


def system(url: str, who: Credentials, stream: str = "events") -> Iterator[Finding]:
    """Connect to each server of a NATS system, and ask one of those that let us in for the stream.

    Args:
        url: `nats://` or `tls://`, of one server or of several.
        who: asks.
        stream: the name of the stream.
    """
    from rxhub.transport.nats.address import Address
    from rxhub.transport.nats.subjects import Subjects

    try:
        address = Address.parse(url, who.user, who.password)
    except ValueError as error:
        yield Finding(
            Verdict.PROBLEM, _sentence(error), "Give the servers as nats://host:port, or nats://one,two,three."
        )
        return
    try:
        subjects = Subjects(stream)
    except ValueError as error:
        yield Finding(Verdict.PROBLEM, _sentence(error), "Give the stream's name: --stream.")
        return
    if find_spec("nats") is None:
        told = f"{', '.join(address.servers)} cannot be looked for: nats-py is not installed"
        yield Finding(Verdict.PROBLEM, told, "pip install 'rxhub[nats]'")
        return
    yield from asyncio.run(_looked(address, who.options, subjects))


async def _looked(address: Address, options: str, subjects: Subjects) -> list[Finding]:
    from rxhub.transport.nats.connection import NatsConnection, NatsUnreachable

    tried = await asyncio.gather(
        *[NatsConnection.open(server, address, "rxhub doctor") for server in address.servers], return_exceptions=True
    )
    lines = [line for line in tried if isinstance(line, NatsConnection)]
    findings: list[Finding] = []
    try:
        for each in tried:
            if isinstance(each, NatsConnection):
                findings += _let_in(each, address)
            elif isinstance(each, NatsUnreachable):
                found = _unreached(each, address, options)
                findings.append(
                    found._replace(remedy=f"{found.remedy} Hubs use the others meanwhile.") if lines else found
                )
            else:
                raise each
        if lines:
            findings += await _jetstream(lines[0], subjects)
    finally:
        await asyncio.gather(*[line.close() for line in lines])
    return findings


def _let_in(line: NatsConnection, address: Address) -> Iterator[Finding]:
    safely = "with" if line.is_encrypted else "without"
    yield Finding(Verdict.OK, f"{line.server} answers: nats-server {line.server_version}, {safely} TLS")
    given = address.user is not None or address.password is not None
    if line.requires_credentials and given:
        yield Finding(Verdict.OK, f"the {_secret(address)} is accepted")
    elif given:
        yield Finding(Verdict.NOTE, "it lets in everybody: whether the password is right is not known")
    else:
        yield Finding(Verdict.NOTE, "no user and password were given, and it asks for none")


def _secret(address: Address) -> str:
    return "token" if address.user is None else f"password of {address.user}"


def _unreached(error: NatsUnreachable, address: Address, options: str) -> Finding:
    """Why there is no connection to a server, and what helps."""
    from nats.errors import SecureConnWantedError

    if "authorization" in error.why.lower():
        return _refused(error.server, address, options)
    match error.__cause__:
        case ssl.SSLCertVerificationError() as cause:
            told = f"its certificate is not trusted: {cause.verify_message}"
            remedy = "Name the authority of your studio in SSL_CERT_FILE, or have the certificate renewed."
        case SecureConnWantedError():
            told = "it does not offer TLS, and nothing was said to it"
            remedy = "Write nats:// if the network is trusted, or let the server have a certificate."
        case ssl.SSLError() as cause:
            told = f"TLS failed: {cause.reason or cause}"
            remedy = "Is that the port of a NATS server, and no proxy before it?"
        case socket.gaierror() | UnicodeError():
            told = "no such host is known"
            remedy = "Look for a slip in the name; a studio's own names may need its VPN or DNS."
        case ConnectionRefusedError():
            told = "nobody listens there"
            remedy = "Is the server running, and the port right? `nats-server -js` starts one."
        case ConnectionResetError():
            told = "it hangs up"
            remedy = f"If it is a NATS server, it may refuse us: look at {options}, and into its log."
        case TimeoutError():
            told = error.why.removesuffix(".")
            remedy = "Is that the port of a NATS server? A firewall may swallow what is sent."
        case OSError():
            told = error.why
            remedy = "Is that the right address, and the server well?"
        case _:
            told = f"what answers does not speak NATS ({error.why.removesuffix('.')})"
            remedy = "Is that the port for clients, which is 4222 if nobody says otherwise?"
    return Finding(Verdict.PROBLEM, f"{error.server} cannot be reached: {one_line(told, 200)}", remedy)


def _refused(server: str, address: Address, options: str) -> Finding:
    if address.user is not None and address.password is not None:
        told = f"the password of {safe_repr(address.user, 60)} is refused, or there is no such user"
        remedy = "Are both of this system, and for this server? Its configuration names them, or the operator knows."
    elif address.user is not None:
        told, remedy = f"it asks {safe_repr(address.user, 60)} for a password", f"Give it: {options}."
    elif address.password is not None:
        told, remedy = "the token is refused", f"Is it this server's? A user and a password are given by {options}."
    else:
        told, remedy = "it asks for a user and a password", f"Give them: {options}."
    return Finding(Verdict.PROBLEM, f"{server} answers, but does not let us in: {told}", remedy)


async def _jetstream(line: NatsConnection, subjects: Subjects) -> list[Finding]:
    """What JetStream says of the stream."""
    from rxhub.transport.nats.streams import NO_STREAM

    asked = time()
    try:
        info = await line.js_request(f"STREAM.INFO.{subjects.stream}", timeout=_PATIENCE)
    except StreamError as error:
        if error.number == NO_STREAM:
            return [_JETSTREAM, await _absent(line, subjects), clock(None, 0.0, asked, time())]
        if error.number == _NO_JETSTREAM:
            remedy = "Switch it on for this account (`jetstream: enabled`), or connect as a user of another."
            return [Finding(Verdict.PROBLEM, "JetStream is not enabled for the account of this user", remedy)]
        told = f"JetStream is not well: {one_line(error.description, 200)} ({error.number})"
        return [Finding(Verdict.PROBLEM, told, "Look into the log of the servers, and whether most of them run.")]
    except HubConnectionError as error:
        return [_unanswered(error, subjects.stream)]
    return [_JETSTREAM, _state(info, subjects), clock(_time(info), 0.0, asked, time())]


_JETSTREAM = Finding(Verdict.OK, "JetStream is enabled, and answers")


# Measured with nats-server 2.15: after a failed write, it still answers STREAM.INFO as before, and it rejects a message
# with a wrong expected sequence or a known id before it comes to the failure.
_UNKNOWN = (
    "Not checked: whether its disk can be written to, because that would store an event. /healthz of nats-server tells "
    "it, and `rxhub doctor --server` for a server of rxhub."
)


def _unanswered(error: HubConnectionError, stream: str) -> Finding:
    from nats.errors import NoRespondersError

    if isinstance(error.__context__, NoRespondersError):  # hidden from tracebacks
        told = "JetStream is not enabled, or has no leader at present"
        remedy = "Start nats-server with -js or with `jetstream {}` in its configuration; of a cluster most must run."
    elif "permissions" in str(error):
        told = f"this user may not ask for the stream {stream}"
        remedy = "Let the user publish what the page on clusters lists, for this stream; or name your stream: --stream."
    else:
        told, remedy = f"JetStream does not answer: {one_line(str(error), 200)}", "Look into the log of the servers."
    return Finding(Verdict.PROBLEM, told, remedy)


def _state(info: dict[str, Any], subjects: Subjects) -> Finding:
    """How the stream is."""
    from rxhub.transport.nats.streams import config_conflict, stream_config

    config, state, name = info["config"], info["state"], subjects.stream
    if (reason := config_conflict(config, stream_config(name))) is not None:
        return Finding(Verdict.PROBLEM, reason.found.removesuffix("."), reason.remedy)
    room = f" of {format_size(config['max_bytes'])}" if config.get("max_bytes", -1) >= 0 else ""
    last = f", the last stored at {state['last_ts'][:19]}Z" if state["messages"] else ""
    size = f"{state['messages']:,} events, {format_size(state['bytes'])}{room}"
    return Finding(Verdict.OK, f"the stream {name} is there: {size}{last}; copies: {config['num_replicas']}", _UNKNOWN)


async def _absent(line: NatsConnection, subjects: Subjects) -> Finding:
    """Whether a stream that is not there could be made."""
    from rxhub.transport.nats.stream_info import stream_states

    name = subjects.stream
    try:
        # JetStream makes nothing of an empty request, and refuses it only to those who might make something.
        await line.js_request(f"STREAM.CREATE.{name}", timeout=_PATIENCE)
    except StreamError:
        pass
    except HubConnectionError as error:
        told = f"there is no stream {name}, and this user may not make it"
        if "permissions" not in str(error):
            told = f"there is no stream {name}, and whether it may be made is not answered"
        remedy = "Let the operator make it, with `rxhub streams add`; or name one that is there: --stream."
        return Finding(Verdict.PROBLEM, told, remedy)
    try:
        account = await line.js_request("INFO", timeout=_PATIENCE)
        there = [state.name for state in await stream_states(line)]
    except (StreamError, HubConnectionError):
        account, there = {}, []  # hubs need neither
    most = account.get("limits", {}).get("max_streams", -1)
    if 0 <= most <= account.get("streams", 0):
        told = f"there is no stream {name}, and its account may have no more than {most} streams, which are there"
        return Finding(Verdict.PROBLEM, told, "Raise max_streams of the account, or name a stream that is there.")
    others = f" There are: {', '.join(there)}." if there else ""
    remedy = f"The first hub that connects makes it, as does `rxhub streams add {name}`.{others}"
    return Finding(Verdict.NOTE, f"there is no stream {name} yet; it may be made", remedy)


def _time(info: dict[str, Any]) -> float | None:
    """When the server answered; servers before 2.10 do not tell."""
    try:
        return datetime.fromisoformat(str(info.get("ts"))).timestamp()
    except (ValueError, OverflowError):
        return None


def _sentence(error: ValueError) -> str:
    return one_line(str(error).removesuffix("."), 200)
