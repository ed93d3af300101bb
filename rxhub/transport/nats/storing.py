"""Publish single messages with confirmation, and read many messages by one request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import nats.errors

from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.direct_client import parse_headers
from rxhub.transport.nats.reconnecting import ReconnectingClient

__all__ = ["get_last_many", "publish_and_wait"]

_PATIENCE = 5.0


async def publish_and_wait(
    at: ReconnectingClient | NatsConnection, subject: str, payload: bytes, headers: Mapping[str, str] | None = None
) -> int:
    """Publish a message, and wait until the stream has stored it.

    Returns its sequence; of the first copy, if the stream has one of the same message id. Raises StreamError if the
    stream refuses it, or there is none, HubConnectionError if there is no connection, or no answer within five seconds.
    """
    line = at if isinstance(at, NatsConnection) else await at.ready(_PATIENCE)
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


async def get_last_many(
    line: NatsConnection, subject: str, body: Mapping[str, Any]
) -> list[tuple[Mapping[str, str], bytes]] | None:
    """Read many messages of a stream by one direct request (NATS ADR-31).

    Returns the headers and the payload of each message; None if nobody answers such questions. Raises
    HubConnectionError if the connection ends meanwhile.
    """
    answers: list[tuple[Mapping[str, str], bytes]] = []
    status: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def take(_subject: str, _reply: str, data: bytes, raw: bytes) -> None:
        headers: Mapping[str, str] = parse_headers(raw) if raw else {}
        if "Nats-Subject" in headers:
            answers.append((headers, data))
        elif not status.done():
            status.set_result(headers.get("Status", ""))

    inbox = line.inbox()
    end = await line.subscribe(inbox, take)
    try:
        async with asyncio.timeout(_PATIENCE):
            await line.client.publish(subject, msgspec.json.encode(body), reply=inbox)
            code = await status
    except (nats.errors.Error, OSError, TimeoutError) as error:
        if line.is_closed:
            raise HubConnectionError(f"The connection ended before {subject} was answered.") from error
        return None
    finally:
        await end()
    # 204 ends the batch; 404 means that nothing matched.
    return answers if code in ("204", "404") else None
