"""The pages of events, expressions, explanations, hubs, subscribers, deliveries and signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, cast

from rxhub.dispatching.delivery import Delivery, Outcome
from rxhub.dispatching.subscriber import Subscriber
from rxhub.display.call_counts import CallCount, CallCounts, call_counts
from rxhub.display.outline import outline
from rxhub.display.page import MAX_ROWS, Page, Part, remark, table, tree
from rxhub.event import Event
from rxhub.expression import Explanation, Expression
from rxhub.expression.pretty import outline as expression_outline
from rxhub.expression.pretty import redacted_subscription
from rxhub.hub import EventHub
from rxhub.redaction import redacted_text
from rxhub.redaction.preview import preview, preview_line
from rxhub.signals.connection import Connection
from rxhub.signals.signal import Signal
from rxhub.text.displayable import render
from rxhub.text.names import callback_name, sender_name
from rxhub.text.safe_repr import one_line, safe_repr

__all__ = ["duration", "error_summary", "hub_page", "subscribers_of", "user_of"]

_FIRST_KEYS = ("id", "source", "target", "sent", "in_reply_to_event")
_SUBSCRIBER = ("priority", "subscription", "callback", "plugin", "calls", "stops", "errors", "last latency", "id")
_OUTCOME = ("", "priority", "subscription", "callback", "outcome", "latency")
_CONNECTION = ("priority", "receiver", "sender", "where", "dispatch_uid", "kept", "plugin")
_NUMBERS = ("", "priority", "calls", "stops", "errors", "last latency", "latency")
_MAX_ERROR_LENGTH = 2_000


@render.register
def _event_page(event: Event) -> Page:
    fields: dict[str, Any] = preview(event)
    fields["id"] = event.fields.get("id")
    fields.pop("topic", None)
    data = fields.pop("data", None)
    names = [*_FIRST_KEYS, *(name for name in fields if name not in _FIRST_KEYS)]
    rows = [(str(name), _text(fields.get(name))) for name in names if not _is_empty(fields.get(name))]
    chips = [type(event).__name__, user_of(event.fields), "stopped" if event.is_stopped() else ""]
    return Page(_topic(event), chips, [table(("", ""), rows), tree(outline(data), folds=True)])


@render.register
def _expression_page(expression: Expression) -> Page:
    depth = expression.depth
    return Page(
        type(expression).__name__, [f"{depth} levels"] if depth > 1 else [], [tree(expression_outline(expression))]
    )


@render.register
def _explanation_page(explanation: Explanation) -> Page:
    return Page("matches" if explanation.matched else "does not match", (), [tree(explanation.outline())])


def hub_page(hub: EventHub, tally: CallCounts | None = None) -> Page:
    """Render a hub: its subscribers in order, and their call counts if the hub is watched."""
    subscribers = subscribers_of(hub)
    tally = call_counts.get(hub) if tally is None else tally
    rows: list[Sequence[str]] = []
    kinds: list[str] = []
    for subscriber in subscribers[:MAX_ROWS]:
        counts = ("",) * 4
        kind = ""
        if tally is not None:
            count = tally.counts.get(subscriber, CallCount())
            counts = f"{count.calls}", f"{count.stops}", f"{count.errors}", duration(count.latency)
            kind = "no" if count.errors else ""
        rows.append((*_identity(subscriber), _owner(subscriber), *counts, _text(subscriber.id)))
        kinds.append(kind)
    parts: list[Part] = [table(_SUBSCRIBER, rows, kinds, len(subscribers), _NUMBERS)]
    if not subscribers:
        parts = [remark("no subscribers")]
    elif tally is None:
        parts.append(remark("rxhub.jupyter.watch(hub) counts calls."))
    chips = [
        hub.get_server_url(),
        "connected" if hub.connected else "not connected",
        "handled" if hub.is_running else "not handled",
        f"{len(subscribers)} subscriber{'' if len(subscribers) == 1 else 's'}",
        f"{hub.dropped} dropped" if hub.dropped else "",
        "" if tally is None else f"{tally.events} events watched",
    ]
    return Page(type(hub).__name__, chips, parts)


render.register(EventHub, hub_page)


@render.register
def _subscriber_page(subscriber: Subscriber) -> Page:
    priority, subscription, callback = _identity(subscriber)
    chips = [
        f"priority {priority}",
        f"of plugin {_owner(subscriber)}" if _owner(subscriber) else "",
        "" if subscriber.scheduler is None else f"on {type(subscriber.scheduler).__name__}",
        "" if subscriber.alive else "unsubscribed",
    ]
    rows = [("id", str(preview(subscriber.id))), ("subscription", subscription), ("callback", callback)]
    parts: list[Part] = [table(("", ""), rows), tree(expression_outline(subscriber.expression))]
    metadata = {key: value for key, value in islice(subscriber.metadata.items(), MAX_ROWS) if key != "id"}
    if metadata:
        parts.append(tree(outline({"metadata": metadata})))
    return Page(type(subscriber).__name__, chips, parts)


@render.register
def _delivery_page(delivery: Delivery) -> Page:
    """Render the callbacks in order, their outcomes, and which one stopped the event."""
    outcomes, unreached, stopper = delivery.outcomes, delivery.unreached, delivery.stopped_by
    rows: list[Sequence[str]] = []
    kinds: list[str] = []
    for order, outcome in enumerate(outcomes[:MAX_ROWS], start=1):
        is_stopper = outcome.subscriber is stopper
        result = _outcome_text(outcome, is_stopper)
        rows.append((str(order), *_identity(outcome.subscriber), result, duration(outcome.latency)))
        kinds.append("no" if outcome.error is not None else "stop" if is_stopper else "")
    for subscriber in unreached[: MAX_ROWS - len(rows)]:
        rows.append(("", *_identity(subscriber), "not reached", ""))
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
    part = table(_OUTCOME, rows, kinds, total, _NUMBERS) if total else remark("No subscription matched.")
    return Page(_topic(delivery.event), chips, [part])


@render.register(Signal)
def _signal_page(signal: Signal[Any]) -> Page:
    connections: Sequence[Connection] = signal.connections
    rows = [_connection_row(connection) for connection in islice(connections, MAX_ROWS)]
    part = table(_CONNECTION, rows, total=len(connections), numbers=("priority",)) if rows else remark("no receivers")
    return Page(signal.name, [type(signal).__name__, f"{len(connections)} connected" if connections else ""], [part])


def _connection_row(connection: Connection) -> tuple[str, ...]:
    sender = connection.sender
    return (
        _priority(connection.priority),
        "(pipeline)" if connection.spec.is_observer else callback_name(connection.receiver),
        safe_repr(sender) if isinstance(sender, str) else sender_name(sender) or "",
        redacted_subscription(connection.where or ""),
        "" if connection.dispatch_uid is None else safe_repr(connection.dispatch_uid),
        "weakly" if connection.weak else "strongly",
        _owner(connection),
    )


def subscribers_of(hub: EventHub) -> Sequence[Subscriber]:
    """Return the subscribers of a hub, in order."""
    return hub._dispatcher.subscribers  # pyright: ignore[reportPrivateUsage]


def user_of(fields: Mapping[str, Any]) -> str:
    """Return the username in the source of an event; empty if there is none."""
    found: Any = preview(fields.get("source"))
    for step in ("user", "username"):
        if type(found) is not dict:  # `preview` copies mappings to dicts; a proxy may claim to be one
            return ""
        found = cast("dict[Any, Any]", found).get(step)
    return "" if found is None else _text(found)


def error_summary(error: BaseException) -> str:
    """Return an exception in one line, without secrets."""
    try:
        text = one_line(redacted_text(str(error)[:_MAX_ERROR_LENGTH]), 160)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _identity(subscriber: Subscriber) -> tuple[str, str, str]:
    subscription = redacted_subscription(subscriber.subscription, subscriber.expression) or "(everything)"
    return _priority(subscriber.priority), subscription, callback_name(subscriber.callback)


def _owner(member: Subscriber | Connection) -> str:
    return "" if member.owner is None else member.owner.name


def _outcome_text(outcome: Outcome, stopped: bool) -> str:
    if outcome.error is not None:
        return error_summary(outcome.error)
    parts = ["stopped it"] if stopped else []
    if outcome.result is not None:
        parts.append(preview_line(outcome.result))
    return ", ".join(parts)


def _topic(event: Event) -> str:
    return _text(event.fields.get("topic", "(no topic)"))


def _text(value: object) -> str:
    return value if isinstance(value, str) else safe_repr(value, 160)


def _is_empty(value: object) -> bool:
    # Not `value in (None, "", {})`: the comparison of the value may raise.
    return value is None or (type(value) in (str, dict) and not value)


def _priority(priority: float) -> str:
    return f"{priority:g}" if isinstance(priority, float) else safe_repr(priority)


def duration(seconds: float | None) -> str:
    """Return a time with three digits and a unit; empty for None."""
    if seconds is None:
        return ""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
