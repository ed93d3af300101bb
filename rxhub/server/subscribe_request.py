"""The events by which clients subscribe and unsubscribe, in ftrack's format."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from rxhub.errors import Refused
from rxhub.server.envelope import Envelope
from rxhub.server.limits import Limits
from rxhub.server.subscription import metadata_too_large

__all__ = ["SUBSCRIBE", "UNSUBSCRIBE", "SubscribeRequest", "subscribe_request", "unsubscribed"]

SUBSCRIBE: Final = "ftrack.meta.subscribe"
UNSUBSCRIBE: Final = "ftrack.meta.unsubscribe"


class SubscribeRequest(msgspec.Struct):
    """The data of an event with the topic `SUBSCRIBE`."""

    subscriber: dict[str, Any]
    subscription: str


class _UnsubscribeRequest(msgspec.Struct):
    """The data of an event with the topic `UNSUBSCRIBE`."""

    subscriber: dict[str, Any]


_decode_subscribe = msgspec.json.Decoder(SubscribeRequest).decode
_decode_unsubscribe = msgspec.json.Decoder(_UnsubscribeRequest).decode


def subscribe_request(envelope: Envelope, limits: Limits) -> SubscribeRequest:
    """The request to subscribe in an event. Raises Refused if the data is invalid or too large."""
    if len(memoryview(envelope.data)) > limits.metadata + 4 * limits.expression:
        raise metadata_too_large(limits)
    try:
        return _decode_subscribe(envelope.data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(
            f"The data of {SUBSCRIBE} needs a subscriber (an object) and a subscription (a string): {error}."
        ) from None


def unsubscribed(envelope: Envelope) -> dict[str, Any]:
    """The subscriber in an event that unsubscribes. Raises Refused if the data is invalid."""
    try:
        return _decode_unsubscribe(envelope.data).subscriber
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(f"The data of {UNSUBSCRIBE} needs a subscriber (an object): {error}.") from None
