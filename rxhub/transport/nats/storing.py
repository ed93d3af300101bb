"""Storing one message and knowing that it is stored; `publishing` is for many in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import nats.errors

from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.line import Line
from rxhub.transport.nats.link import Link

__all__ = ["stored"]

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
