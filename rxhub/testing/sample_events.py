"""Sample events of ftrack and a studio, with realistic topics, entities and users."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from hypothesis import strategies as st

__all__ = ["TOPICS", "data_of", "envelopes", "hex_ids", "ids", "keys_and_values", "sources"]

TOPICS = (
    "ftrack.update",
    "studio.render.finished",
    "studio.render.failed",
    "studio.review.note",
    "studio.farm.heartbeat",
    "ftrack.action.discover",
    "ftrack.action.launch",
    "ftrack.action.trigger-user-interface",
    "ftrack.connect.application.discover",
    "ftrack.connect.application.launch",
    "ftrack.location.component-added",
    "ftrack.location.component-removed",
    "ftrack.dynamic-enumerator",
    "ftrack.meta.reply",
)

_TYPES = ("Task", "Shot", "Sequence", "Episode", "Project", "AssetVersion")
_ACTIONS = ("update", "add", "remove", "move")
_KEYS = ("statusid", "name", "priority", "assignment", "isopen")
_STATUSES = ("Not started", "In progress", "Pending review", "Approved", "On hold")
_TAGS = ("wip", "final", "hero", "client", "urgent")
_APPLICATIONS = ("maya_2025", "nuke_14.0", "houdini_20.5", "blender_4.2", "hiero_15", "rv_2023")
_IDENTIFIERS = ("djvview", "sync.to.farm", "ayon_app.maya", "studio.publish-review", "delete.old.versions")
_LOCATIONS = ("studio.central-storage-location", "montreal", "ftrack.server")
_USERS = ("artist01@studio.example", "artist02@studio.example", "jane.doe", "coordinator")
_NOTES = ("", "ok", "Keine Änderungen", "zu dunkel", "再提出してください")

_digits = st.integers(0, (1 << 128) - 1)
hex_ids = _digits.map("{:032x}".format)
"""Ids of events and hubs: 32 hexadecimal digits."""

ids = hex_ids.map(lambda digits: f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}")
"""Ids of entities and users: UUIDs."""

_pick = st.sampled_from
_selection = st.lists(st.fixed_dictionaries({"entityId": ids, "entityType": _pick(("task", "show"))}), max_size=3)


def _changes(keys: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    values = {"statusid": _pick(_STATUSES), "priority": st.integers(0, 5), "isopen": st.booleans()}
    names = st.sampled_from(("sh010", "sh020", "comp", "animation"))
    return st.fixed_dictionaries(
        {key: st.fixed_dictionaries({"old": values.get(key, names), "new": values.get(key, names)}) for key in keys}
    )


_entities = (
    st.lists(_pick(_KEYS), min_size=1, max_size=2, unique=True)
    .flatmap(lambda keys: st.tuples(st.just(keys), _changes(keys)))
    .flatmap(
        lambda changed: st.fixed_dictionaries(
            {
                "entity_type": _pick(_TYPES),
                "entityType": _pick(("task", "show", "assetversion")),
                "entityId": ids,
                "action": _pick(_ACTIONS),
                "keys": st.just(changed[0]),
                "parentId": st.none() | ids,
                "changes": st.just(changed[1]),
            }
        )
    )
)
_users = st.fixed_dictionaries({"username": _pick(_USERS), "id": ids})

_update: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "entities": st.lists(_entities, min_size=1, max_size=3),
        "pushToken": hex_ids,
        "user": st.fixed_dictionaries({"userid": ids, "name": _pick(_USERS)}),
        "clientToken": st.none(),
    }
)
_studio = st.fixed_dictionaries(
    {
        "job": st.integers(1, 99_999),
        "frames": st.lists(st.integers(1001, 1400), max_size=3),
        "progress": st.integers(0, 1000).map(lambda thousandths: thousandths / 1000),
        "tags": st.lists(_pick(_TAGS), max_size=3, unique=True),
        "note": _pick(_NOTES),
    }
)
_context = st.fixed_dictionaries({"selection": _selection})


def _about_application(identifier: str, context: dict[str, Any]) -> dict[str, Any]:
    name, _, version = identifier.partition("_")
    application = {"identifier": identifier, "label": name.title(), "version": version}
    return {"application": {**application, "launchArguments": []}, "context": context}


_application = st.builds(_about_application, _pick(_APPLICATIONS), _context)
_by_topic: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "ftrack.update": _update,
    "ftrack.action.discover": st.fixed_dictionaries({"selection": _selection, "context": _context}),
    "ftrack.action.launch": st.fixed_dictionaries(
        {
            "actionIdentifier": _pick(_IDENTIFIERS),
            "selection": _selection,
            "host": st.integers(0, 19).map("ws-{:03}.local".format),
            "values": st.builds(dict[str, Any])
            | st.fixed_dictionaries(
                {"frames": st.integers(1, 500), "quality": _pick(("draft", "final")), "notify": st.booleans()}
            ),
        }
    ),
    "ftrack.action.trigger-user-interface": st.fixed_dictionaries(
        {"type": st.just("message"), "success": st.booleans(), "message": _pick(_NOTES)}
    ),
    "ftrack.connect.application.discover": _application,
    "ftrack.connect.application.launch": _application,
    "ftrack.location.component-added": st.fixed_dictionaries(
        {"component_id": ids, "location_id": ids, "locationId": _pick(_LOCATIONS)}
    ),
    "ftrack.dynamic-enumerator": st.fixed_dictionaries(
        {
            "attributeName": _pick(("shot_type", "department")),
            "query": _pick(("", "comp")),
            "filters": st.builds(list[Any]),
        }
    ),
    "ftrack.meta.reply": st.fixed_dictionaries(
        {
            "items": st.lists(
                st.fixed_dictionaries(
                    {"label": _pick(("Publish review", "Sync")), "actionIdentifier": _pick(_IDENTIFIERS)}
                ),
                max_size=2,
            )
        }
    ),
}
_by_topic["ftrack.location.component-removed"] = _by_topic["ftrack.location.component-added"]

sources = st.one_of(
    st.fixed_dictionaries(
        {
            "id": hex_ids,
            "user": _users,
            "applicationId": st.just("ftrack.api.python"),
            "host": st.integers(0, 19).map("ws-{:03}.local".format),
        }
    ),
    st.fixed_dictionaries({"id": hex_ids, "user": _users, "applicationId": st.just("ftrack.client.web")}),
)
"""The source of an event: a Python client or a browser."""


def data_of(topic: str) -> st.SearchStrategy[dict[str, Any]]:
    """The data of a topic; unknown topics have those of the studio's own."""
    return _by_topic.get(topic, _studio)


@cache
def envelopes(topic: str) -> st.SearchStrategy[dict[str, Any]]:
    """The fields of an event of this topic."""
    reply = topic == "ftrack.meta.reply"
    return st.fixed_dictionaries(
        {
            "topic": st.just(topic),
            "id": hex_ids,
            "data": data_of(topic),
            "sent": st.none(),
            "source": sources,
            "target": hex_ids.map("id={}".format) if reply else st.just(""),
            "in_reply_to_event": hex_ids if reply else st.none(),
        }
    )


_WORDS = {
    "topic": TOPICS,
    "source.user.username": _USERS,
    "source.applicationId": ("ftrack.api.python", "ftrack.client.web"),
    "source.host": ("ws-004.local", "ws-019.local"),
    "data.entities.entity_type": _TYPES,
    "data.entities.entityType": ("task", "show", "assetversion"),
    "data.entities.action": _ACTIONS,
    "data.entities.keys": _KEYS,
    "data.entities.changes.statusid.new": _STATUSES,
    "data.entities.parentId": ("null",),
    "data.actionIdentifier": _IDENTIFIERS,
    "data.application.identifier": _APPLICATIONS,
    "data.application.version": ("2021", "14.0", "20.5", "4.2"),
    "data.job": ("1", "4711", "33393"),
    "data.frames": ("1001", "1100", "1400"),
    "data.progress": ("0", "0.5", "1"),
    "data.tags": _TAGS,
    "data.note": _NOTES,
    "data.success": ("true", "false"),
    "data.locationId": _LOCATIONS,
}
keys_and_values: tuple[tuple[str, tuple[str, ...]], ...] = tuple(_WORDS.items())
"""Keys in subscriptions, and values of theirs."""
