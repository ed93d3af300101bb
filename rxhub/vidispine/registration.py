"""Register for notifications of Vidispine."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote, urlsplit

from rxhub.vidispine.client import Client, configured
from rxhub.vidispine.documents import notification_document

__all__ = ["RESOURCES", "register_notification"]

RESOURCES = ("collection", "deletion-lock", "document", "file", "group", "item", "job", "quota", "storage")
"""The resources with notifications. Vidispine has none for users."""


def register_notification(
    resource: str,
    trigger: str,
    url: str,
    secret: str,
    *,
    client: Client | None = None,
    method: Literal["POST", "PUT"] = "POST",
    content_type: Literal["application/json", "application/xml"] = "application/json",
    retry: int = 5,
    timeout: int = 10,
    synchronous: bool = False,
) -> str:
    """Register a notification that Vidispine sends to a `Notifications` endpoint.

    Vidispine sends the secret as the password of HTTP authentication, so that logs of URLs do not show it. The resource
    is appended to the URL.

    Args:
        resource: one of `RESOURCES`.
        trigger: the elements below `<trigger>` in the reference of Vidispine, joined by slashes: `item/create`,
            `item/delete`, `metadata/modify`, `job/stop`.
        url: the URL of the endpoint, such as `https://hub.example.com/vidispine`.
        secret: the secret of the endpoint.
        client: the client of the Vidispine server. Default: the configured one.
        method: POST or PUT.
        content_type: the format of the notifications.
        retry: the number of retries if the endpoint is full or cannot be reached.
        timeout: seconds until an attempt fails.
        synchronous: whether Vidispine waits for the endpoint before it continues.

    Returns:
        The id of the notification in Vidispine, such as `VX-573`.
    """
    if resource not in RESOURCES:
        raise ValueError(f"Vidispine has no notifications on {resource!r}; choose one of {', '.join(RESOURCES)}.")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError(
            f"The URL of the endpoint on the host {parts.hostname} is not valid. Expected one such as "
            "https://hub.example.com/vidispine, without credentials."
        )
    address = parts._replace(
        netloc=f"vidispine:{quote(secret, safe='')}@{parts.netloc}", path=f"{parts.path.rstrip('/')}/{resource}"
    )
    options: dict[str, Any] = {"method": method, "content_type": content_type, "retry": retry, "timeout": timeout}
    document = notification_document(trigger, address.geturl(), synchronous=synchronous, **options)
    # Older versions have the notifications on files only below storages.
    place = "storage/file" if resource == "file" else resource
    response = (client or configured()).request(
        "POST", f"/{place}/notification", body=document, secrets=(secret, quote(secret, safe=""))
    )
    match response:
        case {"uri": [str(found)]} | str(found):  # a URIListDocument, or plain text; either may have a whole URL
            return found.strip().rstrip("/").rpartition("/")[2]
        case _:
            return ""
