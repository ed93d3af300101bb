"""Storing messages and knowing that they are stored, and reading many at once; `publishing` is for many in order."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import nats.errors

from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.connection import Line
from rxhub.transport.nats.direct_client import parsed_headers
from rxhub.transport.nats.reconnecting import Link

__all__ = ["asked_many", "stored", "stored_all"]

_PATIENCE = 5.0


async def stored(at: Link | Line, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> int:
    """Publish into the stream that has a subject, and wait until it is stored.

    Args:
        at: the connection; a link without one is waited for, for five seconds.
        subject: of the message.
        payload: of the message.
        headers: of the message.

    Returns:
        Its sequence; of the first copy, if the stream has one of the same message id.

    Raises:
        StreamError: if the stream refuses it, or there is none.
        HubConnectionError: if there is no connection, or no answer within five seconds.
    """
    line = at if isinstance(at, Line) else await at.ready(_PATIENCE)
    try:
        answer = await line.client.request(
            subject, payload, timeout=_PATIENCE, headers=None if headers is None else dict(headers)
        )
    except nats.errors.NoRespondersError:
        raise StreamError(503, 0, "no stream takes it at present", f"a message on {subject}") from None
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise HubConnectionError(f"A message on {subject} was not acknowledged: {error or 'no answer'}.") from error
    told: dict[str, Any] = msgspec.json.decode(answer.data)
    if failure := told.get("error"):
        raise StreamError(
            failure.get("code", 0), failure.get("err_code", 0), str(failure.get("description", "")), f"{subject}"
        )
    return told["seq"]


async def stored_all(at: Link, subjects: Collection[str], payload: bytes) -> set[str]:
    """Publish one payload on many subjects of a stream, and wait until all are stored.

    Args:
        at: the connection; without one it is waited for, for five seconds.
        subjects: of the messages.
        payload: of each.

    Returns:
        The subjects whose messages were not acknowledged within five seconds.

    Raises:
        StreamError: if the stream refuses one, or there is none.
        HubConnectionError: if there is no connection.
    """
    line = await at.ready(_PATIENCE)
    inbox, unknown, done = line.inbox(), dict(enumerate(subjects)), asyncio.Event()
    refused: list[StreamError] = []

    def take(answered: str, _reply: str, data: bytes, _headers: bytes) -> None:
        subject = unknown.pop(int(answered.rpartition(".")[2]), "")
        if not data:
            refused.append(StreamError(503, 0, "no stream takes it at present", f"a message on {subject}"))
        elif b'"error"' in data:
            failure: dict[str, Any] = msgspec.json.decode(data)["error"]
            refused.append(
                StreamError(failure.get("code", 0), failure.get("err_code", 0), failure.get("description", ""), subject)
            )
        if not unknown:
            done.set()

    end = await line.subscribe(f"{inbox}.*", take)
    try:
        async with asyncio.timeout(_PATIENCE):
            for number, subject in list(unknown.items()):
                await line.client.publish(subject, payload, reply=f"{inbox}.{number}")
            await done.wait()
    except (nats.errors.Error, OSError, TimeoutError) as error:
        if line.is_over:
            raise HubConnectionError(f"The connection ended before messages were acknowledged: {error}.") from error
    finally:
        await end()
    if refused:
        raise refused[0]
    return set(unknown.values())


async def asked_many(line: Line, subject: str, body: Mapping[str, Any]) -> dict[str, Mapping[str, str]] | None:
    """Ask for many messages of a stream by one direct question (NATS's ADR-31).

    Args:
        line: by which to ask.
        subject: of the question.
        body: of the question.

    Returns:
        The headers of each message by its subject; None if nobody answers such questions.

    Raises:
        HubConnectionError: if the connection ends meanwhile.
    """
    answers: dict[str, Mapping[str, str]] = {}
    status: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def take(_subject: str, _reply: str, _data: bytes, raw: bytes) -> None:
        headers: Mapping[str, str] = parsed_headers(raw) if raw else {}
        if "Nats-Subject" in headers:
            answers[headers["Nats-Subject"]] = headers
        elif not status.done():
            status.set_result(headers.get("Status", ""))

    inbox = line.inbox()
    end = await line.subscribe(inbox, take)
    try:
        async with asyncio.timeout(_PATIENCE):
            await line.client.publish(subject, msgspec.json.encode(body), reply=inbox)
            code = await status
    except (nats.errors.Error, OSError, TimeoutError) as error:
        if line.is_over:
            raise HubConnectionError(f"The connection ended before {subject} was answered.") from error
        return None
    finally:
        await end()
    # The end of the answers, or that there are none.
    return answers if code in ("204", "404") else None
