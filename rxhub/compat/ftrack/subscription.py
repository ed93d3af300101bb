"""`ftrack_api.event.subscription`: a parsed subscription."""

from __future__ import annotations

from typing import Any

from rxhub.compat.ftrack.expression import Parser

__all__ = ["Subscription"]


class Subscription:
    """A subscription, whose text `str()` returns unchanged; raises ParseError if it does not parse."""

    parser = Parser()

    def __init__(self, subscription: str) -> None:
        self._subscription = subscription
        self._expression = self.parser.parse(subscription)

    def __str__(self) -> str:
        return self._subscription

    def includes(self, event: Any) -> bool:
        """Whether the event matches."""
        return self._expression.match(event)
