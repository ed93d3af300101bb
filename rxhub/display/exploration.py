"""The pages of what `rxhub.exploration` finds: events, topics, keys, and the parts of a subscription."""

from __future__ import annotations

from rxhub.display.page import MAX_ROWS, Page, Part, remark, table, tree
from rxhub.display.renderers import user_of
from rxhub.exploration import Events, Keys, MatchCounts, TopicCounts
from rxhub.exploration.keys import key_row
from rxhub.redaction.preview import preview_line
from rxhub.text.displayable import render

__all__: list[str] = []

_HEAD = 10
_BAR_WIDTH = 20


@render.register
def _events_page(events: Events) -> Page:
    head = events.preview(_HEAD + 1)
    chips = [f"where {condition.without_secrets()}" for condition in events.conditions]
    if head is None:
        return Page(f"events of {events.name}", chips, [remark("Use head() to read the first events.")])
    rows = [(event.topic, user_of(event.fields), preview_line(event.data, 120)) for event in head[:_HEAD]]
    parts = [table(("topic", "user", "data"), rows)] if rows else [remark("no events")]
    if len(head) > _HEAD:
        parts.append(remark("… and more"))
    parts += [remark(f"skipped {item.number}: {item.fault}") for item in events.invalid_items]
    return Page(f"events of {events.name}", chips, parts)


@render.register
def _topics_page(topics: TopicCounts) -> Page:
    largest = max(topics.values(), default=1)
    rows = [(f"{count:,}", topic, "▇" * round(_BAR_WIDTH * count / largest)) for topic, count in topics.items()]
    part = table(("events", "topic", ""), rows, total=len(rows), numbers=("events",)) if rows else remark("no events")
    return Page("topics", [f"{len(topics):,} topics", f"{topics.total():,} events"], [part])


@render.register
def _keys_page(keys: Keys) -> Page:
    rows = [key_row(key, keys.events) for key in keys[:MAX_ROWS]]
    headings = ("events", "key", "types", "examples")
    parts: list[Part] = [table(headings, rows, total=len(keys), numbers=("events",))] if rows else [remark("no keys")]
    if keys.omitted:
        parts.append(remark(f"{keys.omitted:,} further keys were not counted"))
    return Page("keys", [f"{len(keys):,} keys", f"{keys.events:,} events"], parts)


@render.register
def _match_counts_page(counts: MatchCounts) -> Page:
    hints = [remark(hint) for hint in counts.hints()] if not counts.matched else []
    return Page(f"{counts.matched:,} of {counts.seen:,} events match", (), [tree(counts.outline()), *hints])
