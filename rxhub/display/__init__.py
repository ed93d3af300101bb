"""What notebooks show of events, expressions, deliveries, signals and hubs, as text and as HTML.

Importing this package registers a renderer for each class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rxhub.dispatching.delivery import Delivery
from rxhub.dispatching.subscriber import Subscriber
from rxhub.display.event import event_page
from rxhub.display.expression import explanation_page, expression_page
from rxhub.display.page import Page
from rxhub.display.signal import signal_page
from rxhub.display.subscribers import delivery_page, hub_page, subscriber_page
from rxhub.event import Event
from rxhub.expression import Explanation, Expression
from rxhub.hub import EventHub
from rxhub.signals.signal import Signal
from rxhub.text.displayable import render

__all__: list[str] = []

_RENDERERS: dict[type, Callable[[Any], Page]] = {
    Delivery: delivery_page,
    Event: event_page,
    EventHub: hub_page,
    Explanation: explanation_page,
    Expression: expression_page,
    Signal: signal_page,
    Subscriber: subscriber_page,
}
for _class, _renderer in _RENDERERS.items():
    render.register(_class, _renderer)
