"""The signals of Cantemo Portal, under Portal's names.

Portal documents them as `portal.vidispine.signals` and `portal.authentication.signals`, where `rxhub.compat.cantemo`
provides them. All are sent with `sender` (a class, or the resource of a notification), `instance` (an id or a name, not
an object) and `method` (the method that was called, or the operation).
"""

from __future__ import annotations

from typing import NamedTuple

from rxhub.signals.signal import Signal

__all__ = [
    "CREATE",
    "DELETE",
    "GET",
    "INGEST",
    "MODIFY",
    "Pair",
    "portal_post_authenticate",
    "portal_post_login",
    "portal_post_logout",
    "portal_pre_authenticate",
    "portal_pre_login",
    "portal_pre_logout",
    "vidispine_auto_import_ntfcn",
    "vidispine_get_item_ntfcn",
    "vidispine_notification",
    "vidispine_post_create",
    "vidispine_post_delete",
    "vidispine_post_get",
    "vidispine_post_ingest",
    "vidispine_post_modify",
    "vidispine_pre_create",
    "vidispine_pre_delete",
    "vidispine_pre_get",
    "vidispine_pre_ingest",
    "vidispine_pre_modify",
]


class Pair(NamedTuple):
    """The signals before and after one kind of operation."""

    pre: Signal[...]
    post: Signal[...]


vidispine_pre_create: Signal[...] = Signal("vidispine_pre_create")
"""Before an object or item is created. For a user it carries `newPassword`."""
vidispine_post_create: Signal[...] = Signal("vidispine_post_create")
"""After an object or item was created."""
vidispine_pre_modify: Signal[...] = Signal("vidispine_pre_modify")
"""Before an object is modified or associated to another object."""
vidispine_post_modify: Signal[...] = Signal("vidispine_post_modify")
"""After an object was modified or associated to another object."""
vidispine_pre_delete: Signal[...] = Signal("vidispine_pre_delete")
"""Before an object or item is deleted."""
vidispine_post_delete: Signal[...] = Signal("vidispine_post_delete")
"""After an object or item was deleted."""
vidispine_pre_get: Signal[...] = Signal("vidispine_pre_get")
"""Before an object or item is retrieved."""
vidispine_post_get: Signal[...] = Signal("vidispine_post_get")
"""After an object or item was retrieved."""
vidispine_pre_ingest: Signal[...] = Signal("vidispine_pre_ingest")
"""Before a file is imported; it carries the `query` of the import."""
vidispine_post_ingest: Signal[...] = Signal("vidispine_post_ingest")
"""After the import of a file was accepted."""

vidispine_get_item_ntfcn: Signal[...] = Signal("vidispine_get_item_ntfcn")
"""After each `ItemHelper.getItem`, as in Portal: an item was viewed."""
vidispine_auto_import_ntfcn: Signal[...] = Signal("vidispine_auto_import_ntfcn")
"""A notification on assets (item, collection, file, document) arrived from Vidispine."""
vidispine_notification: Signal[...] = Signal("vidispine_notification")
"""Any notification arrived from Vidispine, those on jobs and storages included. Portal has no such signal."""

portal_pre_authenticate: Signal[...] = Signal("portal_pre_authenticate")
"""Before a user is authenticated."""
portal_post_authenticate: Signal[...] = Signal("portal_post_authenticate")
"""After a user was authenticated."""
portal_pre_login: Signal[...] = Signal("portal_pre_login")
"""Before a user is logged in."""
portal_post_login: Signal[...] = Signal("portal_post_login")
"""After a user was logged in."""
portal_pre_logout: Signal[...] = Signal("portal_pre_logout")
"""Before a user is logged out."""
portal_post_logout: Signal[...] = Signal("portal_post_logout")
"""After a user was logged out."""

CREATE = Pair(vidispine_pre_create, vidispine_post_create)
MODIFY = Pair(vidispine_pre_modify, vidispine_post_modify)
DELETE = Pair(vidispine_pre_delete, vidispine_post_delete)
GET = Pair(vidispine_pre_get, vidispine_post_get)
INGEST = Pair(vidispine_pre_ingest, vidispine_post_ingest)
