"""Vidispine, and the signals that Cantemo Portal sends for its operations.

Requires the extra `vidispine`: `pip install "rxhub[vidispine]"`.
"""

from rxhub.text.extras import missing_dependency

try:
    from rxhub.vidispine.client import Client, configure
    from rxhub.vidispine.documents import metadata_document
    from rxhub.vidispine.errors import (
        NotConfigured,
        NotFound,
        NotificationError,
        RequestFailed,
        Unreachable,
        VidispineError,
    )
    from rxhub.vidispine.helpers import CollectionHelper, GroupHelper, IngestHelper, ItemHelper, UserHelper
    from rxhub.vidispine.registration import register_notification
except ModuleNotFoundError as error:
    raise missing_dependency(error, "rxhub.vidispine", "vidispine") from None

__all__ = [
    "Client",
    "CollectionHelper",
    "GroupHelper",
    "IngestHelper",
    "ItemHelper",
    "NotConfigured",
    "NotFound",
    "NotificationError",
    "RequestFailed",
    "Unreachable",
    "UserHelper",
    "VidispineError",
    "configure",
    "metadata_document",
    "register_notification",
]
