"""A hub, a subscriber and a delivery."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from rxhub.dispatching.delivery import Delivery, Outcome
from rxhub.dispatching.subscriber import Subscriber
from rxhub.display.call_counts import CallCount, CallCounts, call_counts
from rxhub.display.event import topic_of, user_of
from rxhub.display.outline import outline
from rxhub.display.page import MAX_ROWS, Page, Part, Remark, Table, Tree
from rxhub.expression.pretty import outline as expression_outline
from rxhub.expression.pretty import redacted_subscription
from rxhub.hub import EventHub
from rxhub.redaction import redacted_text
from rxhub.redaction.preview import preview, preview_line
from rxhub.text.names import callback_name
from rxhub.text.safe_repr import one_line, safe_repr

__all__ = [
    "delivery_page",
    "duration",
    "error_summary",
    "format_priority",
    "hub_page",
    "subscriber_page",
    "subscribers_of",
    "subscription_text",
]

_ORDER = ("priority", "subscription", "callback", "plugin", "calls", "stops", "errors", "last latency", "id")
_RUN = ("", "priority", "subscription", "callback", "outcome", "latency")
_MAX_ERROR_LENGTH = 2_000
_NUMBERS = ("", "priority", "calls", "stops", "errors", "last latency", "latency")


def hub_page(hub: EventHub, tally: CallCounts | None = None) -> Page:
    """Render a hub: its subscribers in order, and their call counts if the hub is watched."""
    subscribers = subscribers_of(hub)
    tally = call_counts.get(hub) if tally is None else tally
    rows: list[Sequence[str]] = []
    kinds: list[str] = []
    for subscriber in subscribers[:MAX_ROWS]:
        count = None if tally is None else tally.counts.get(subscriber, CallCount())
        counted = ("",) * 4
        if count is not None:
            counted = str(count.calls), str(count.stops), str(count.errors), duration(count.latency)
        owner = "" if subscriber.owner is None else subscriber.owner.name
        identity = (
            format_priority(subscriber.priority),
            subscription_text(subscriber),
            callback_name(subscriber.callback),
            owner,
        )
        rows.append(
            (*identity, *counted, safe_repr(subscriber.id) if not isinstance(subscriber.id, str) else subscriber.id)
        )
        kinds.append("no" if count is not None and count.errors else "")
    parts: list[Part] = [Table(_ORDER, rows, kinds, len(subscribers), _NUMBERS)]
    if not subscribers:
        parts = [Remark("no subscribers")]
    elif tally is None:
        parts.append(Remark("rxhub.jupyter.watch(hub) counts calls."))
    chips = [
        hub.get_server_url(),
        "connected" if hub.connected else "not connected",
        "handled" if hub.is_running else "not handled",
        f"{len(subscribers)} subscriber{'' if len(subscribers) == 1 else 's'}",
        f"{hub.dropped} dropped" if hub.dropped else "",
        "" if tally is None else f"{tally.events} events watched",
    ]
    return Page(type(hub).__name__, chips, parts)


def subscribers_of(hub: EventHub) -> Sequence[Subscriber]:
    """The subscribers of a hub, in order."""
    return hub._dispatcher.subscribers  # pyright: ignore[reportPrivateUsage]


def subscriber_page(subscriber: Subscriber) -> Page:
    """Render a subscriber."""
    owner = subscriber.owner
    chips = [
        f"priority {format_priority(subscriber.priority)}",
        "" if owner is None else f"of plugin {owner.name}",
        "" if subscriber.scheduler is None else f"on {type(subscriber.scheduler).__name__}",
        "" if subscriber.alive else "unsubscribed",
    ]
    rows = [
        ("id", str(preview(subscriber.id))),
        ("subscription", subscription_text(subscriber)),
        ("callback", callback_name(subscriber.callback)),
    ]
    parts: list[Part] = [Table(("", ""), rows), Tree(expression_outline(subscriber.expression))]
    metadata = {key: value for key, value in islice(subscriber.metadata.items(), MAX_ROWS) if key != "id"}
    if metadata:
        parts.append(Tree(outline({"metadata": metadata})))
    return Page(type(subscriber).__name__, chips, parts)


def delivery_page(delivery: Delivery) -> Page:
    """Render a delivery: the callbacks in order, their outcomes, and which one stopped the event."""
    outcomes, unreached, stopper = delivery.outcomes, delivery.unreached, delivery.stopped_by
    rows: list[Sequence[str]] = []
    kinds: list[str] = []
    for order, outcome in enumerate(outcomes[:MAX_ROWS], start=1):
        is_stopper = outcome.subscriber is stopper
        rows.append(
            (str(order), *_who(outcome.subscriber), _outcome_text(outcome, is_stopper), duration(outcome.latency))
        )
        kinds.append("no" if outcome.error is not None else "stop" if is_stopper else "")
    for subscriber in unreached[: MAX_ROWS - len(rows)]:
        rows.append(("", *_who(subscriber), "not reached", ""))
        kinds.append("faint")
    failed = sum(outcome.error is not None for outcome in outcomes)
    chips = [
        type(delivery).__name__,
        user_of(delivery.event.fields),
        f"{len(outcomes)} ran",
        f"{failed} failed" if failed else "",
        "" if stopper is None else f"stopped by {callback_name(stopper.callback)}",
        "" if delivery.completed else "still open",
    ]
    total = len(outcomes) + len(unreached)
    parts: list[Part] = [Table(_RUN, rows, kinds, total, _NUMBERS)] if total else [Remark("No subscription matched.")]
    return Page(topic_of(delivery.event), chips, parts)


def subscription_text(subscriber: Subscriber) -> str:
    """The subscription, without secrets."""
    return redacted_subscription(subscriber.subscription, subscriber.expression) or "(everything)"


def _who(subscriber: Subscriber) -> tuple[str, str, str]:
    return format_priority(subscriber.priority), subscription_text(subscriber), callback_name(subscriber.callback)


def _outcome_text(outcome: Outcome, stopped: bool) -> str:
    if outcome.error is not None:
        return error_summary(outcome.error)
    parts = ["stopped it"] if stopped else []
    if outcome.result is not None:
        parts.append(preview_line(outcome.result))
    return ", ".join(parts)


def error_summary(error: BaseException) -> str:
    """An exception in one line, without secrets."""
    try:
        text = one_line(redacted_text(str(error)[:_MAX_ERROR_LENGTH]), 160)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def format_priority(priority: float) -> str:
    """A priority without trailing zeros."""
    return f"{priority:g}" if isinstance(priority, float) else safe_repr(priority)


def duration(seconds: float | None) -> str:
    """A time with three digits and a unit; empty for None."""
    if seconds is None:
        return ""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
