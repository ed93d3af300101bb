"""The schemas of the HTTP interface's description, in JSON Schema 2020-12."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

__all__ = ["SCHEMAS", "array", "integer", "nullable", "obj", "ref", "string"]

Schema: TypeAlias = dict[str, Any]


def string(pattern: str = "", format: str = "") -> Schema:
    """A string."""
    return {"type": "string"} | ({"pattern": pattern} if pattern else {}) | ({"format": format} if format else {})


def integer(least: int | None = None, most: int | None = None) -> Schema:
    """A whole number."""
    limits = {"minimum": least, "maximum": most}
    return {"type": "integer"} | {name: limit for name, limit in limits.items() if limit is not None}


def array(items: Schema, least: int = 0, most: int | None = None) -> Schema:
    """A list."""
    limits = {"minItems": least or None, "maxItems": most}
    return {"type": "array", "items": items} | {name: limit for name, limit in limits.items() if limit is not None}


def obj(required: dict[str, Schema], optional: dict[str, Schema] | None = None, is_open: bool = True) -> Schema:
    """An object.

    Args:
        required: properties.
        optional: properties.
        is_open: whether it may have others.
    """
    schema: Schema = {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}
    return schema if is_open else schema | {"additionalProperties": False}


def ref(name: str) -> Schema:
    """A schema of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    """A schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


_TEXT: Final = string()
_NUMBER: Final = integer(0)
_TIME: Final = string(format="date-time")
_BOOLEAN: Final[Schema] = {"type": "boolean"}
_OBJECT: Final[Schema] = {"type": "object"}
_TOPICS: Final = array(_TEXT) | {"description": "Exact topics, and prefixes followed by `*`."}
_NODE: Final = {
    "kind": {"enum": ["all", "any", "not", "everything", "condition"]},
    "text": _TEXT,
    "children": array(ref("Node")),
}
_EVENT: Final = {
    "id": nullable(_TEXT),
    "data": {},
    "source": nullable(_OBJECT),
    "target": nullable(_TEXT),
    "inReplyToEvent": nullable(_TEXT),
    "sent": {},
}
_GROUP: Final = {
    "name": _TEXT,
    "waiting": _NUMBER | {"description": "Events that no process has received."},
    "pending": _NUMBER | {"description": "Events in progress, and those that wait for a retry."},
    "repeated": _NUMBER | {"description": "Pending events that were delivered before."},
    "limit": nullable(_NUMBER),
    "is_paused": _BOOLEAN,
    "is_active": _BOOLEAN | {"description": "Whether a process is ready to receive events."},
    "oldest": nullable(_TIME),
    "rate": nullable({"type": "number"}),
}
_RULES: Final = {"publish": _TOPICS, "subscribe": _TOPICS}

SCHEMAS: Final[dict[str, Schema]] = {
    "Problem": obj(
        {"title": _TEXT, "status": integer(400, 599), "detail": _TEXT},
        {"position": _NUMBER, "expected": _TEXT, "hint": _TEXT, "message": _TEXT},
    ),
    "NewEvent": obj({"topic": _TEXT}, _EVENT),
    "CloudEvent": obj({"specversion": {"const": "1.0"}, "id": _TEXT, "source": _TEXT, "type": _TEXT}),
    "Replies": obj({"ids": array(_TEXT), "replies": array(obj({"topic": _TEXT}, _EVENT))}),
    "ExplainRequest": obj(
        {},
        {
            "subscription": nullable(_TEXT),
            "client": nullable(integer()) | {"description": "Instead of a text: the number of a client,"},
            "subscriber": nullable(_TEXT) | {"description": "and the id of one of its subscribers."},
            "event": nullable(_OBJECT),
        },
        is_open=False,
    ),
    "ReplayRequest": obj(
        {},
        {
            "subscription": _TEXT | {"description": "Which events; empty for all."},
            "since": nullable(_TIME) | {"description": "Time of the first event, with an offset."},
            "until": nullable(_TIME) | {"description": "Time of the last event. Default: now."},
            "sequence": integer(0, 2**62) | {"description": "`next` of the previous response."},
        },
        is_open=False,
    ),
    "LimitsRequest": obj(
        {},
        {
            "max_age": {"type": "number", "minimum": 0, "maximum": 9e9, "description": "Seconds; 0 is unlimited."},
            "max_bytes": integer(-1, 2**62) | {"not": {"const": 0}, "description": "-1 is unlimited."},
            "discard": {"enum": ["new", "old"], "description": "Which events go if the stream is full."},
            "replicas": integer(1, 5),
        },
        is_open=False,
    )
    | {"minProperties": 1},
    "Loss": obj(
        {
            "events": _NUMBER,
            "size": _NUMBER | {"description": "In bytes."},
            "first": nullable(_TIME),
            "last": nullable(_TIME),
            "last_sequence": _NUMBER,
            "is_estimate": _BOOLEAN,
            "unhandled": array(_TEXT) | {"description": "Groups that have not handled all of the events."},
            "dead_letters": _NUMBER,
            "rejects": _BOOLEAN | {"description": "Whether the stream will reject new events."},
        }
    ),
    "Node": obj(
        _NODE,
        {"matched": _BOOLEAN, "decisive": _BOOLEAN, "values": array({}), "more": _BOOLEAN, "detail": _TEXT},
    ),
    "Explanation": obj({"tree": ref("Node"), "warning": _TEXT}, {"matched": _BOOLEAN}),
    "Client": obj(
        {
            "id": integer(1),
            "user": _TEXT,
            "address": _TEXT,
            "protocol": _TEXT,
            "connected": _TIME,
            "waiting": _NUMBER | {"description": "Messages in the send queue."},
            "sent": _NUMBER,
            "dropped": _NUMBER,
            "subscriptions": array(obj({"subscriber": _TEXT, "subscription": _TEXT}, {"metadata": _OBJECT})),
            "subscription_count": _NUMBER,
        }
    ),
    "Receiver": obj({"client": integer(1), "user": _TEXT, "subscriber": _TEXT, "subscription": _TEXT}),
    "Stream": obj(
        {
            "name": _TEXT,
            "messages": _NUMBER,
            "bytes": _NUMBER,
            "first": nullable(_TIME),
            "last": nullable(_TIME),
            "first_sequence": _NUMBER,
            "last_sequence": _NUMBER,
            "replicas": _NUMBER,
            "max_age": {"type": "number", "description": "Seconds; 0 is unlimited."},
            "max_bytes": integer() | {"description": "-1 is unlimited."},
            "dead": _NUMBER,
            "groups": array(obj(_GROUP)),
            "discard": {"enum": ["new", "old"]},
        }
    ),
    "Group": obj({"stream": _TEXT, **_GROUP}),
    "Bin": obj({"since": _TIME, "until": _TIME, "events": _NUMBER}),
    "DeadLetter": obj(
        {
            "id": integer(1),
            "group": _TEXT,
            "topic": _TEXT,
            "reason": _TEXT,
            "traceback": _TEXT,
            "attempts": _NUMBER,
            "sequence": _NUMBER,
            "stored": _TIME,
            "died": _TIME,
            "event": {"description": "A string if the stored data is not an event."},
        }
    ),
    "User": obj({"name": _TEXT, **_RULES}),
    "Session": obj(
        {
            "user": _TEXT,
            **_RULES,
            "is_admin": _BOOLEAN,
            "stores": _BOOLEAN,
            "heartbeat": {"type": "number"},
            "csrf_token": _TEXT,
        }
    ),
    "SignIn": obj({}, {"user": _TEXT, "key": _TEXT, "token": _TEXT}, is_open=False),
}
