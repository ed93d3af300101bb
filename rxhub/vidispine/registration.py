"""Having Vidispine send its notifications to us."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote, urlsplit

from rxhub.vidispine.client import Client, configured
from rxhub.vidispine.documents import notification_document

__all__ = ["RESOURCES", "register_notification"]

RESOURCES = ("collection", "deletion-lock", "document", "file", "group", "item", "job", "quota", "storage")
"""What Vidispine notifies of. There is no such thing as a notification on users."""


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
    """Register a notification with Vidispine, to be sent to a `Notifications` endpoint.

    The secret travels as the password of HTTP authentication, which Vidispine takes from the address, so that no log
    of addresses shows it; the resource is appended to the address.

    Args:
        resource: one of `RESOURCES`.
        trigger: the elements below `<trigger>` in Vidispine's reference, joined by slashes: `item/create`,
            `item/delete`, `metadata/modify`, `job/stop`.
        url: where the endpoint is served, as `https://hub.example.com/vidispine`.
        secret: what the endpoint was given.
        client: the Vidispine to register with; None is the configured one.
        method: POST or PUT.
        content_type: in which form notifications are sent.
        retry: how often Vidispine tries again when the endpoint is full or away.
        timeout: seconds until Vidispine takes an attempt for failed.
        synchronous: whether Vidispine waits for the endpoint before it goes on.

    Returns:
        The id of the notification in Vidispine, such as `VX-573`.

    Raises:
        ValueError: if there is no such resource, or an argument cannot be sent.
        RequestFailed: if Vidispine does not take it.
    """
    if resource not in RESOURCES:
        raise ValueError(f"Vidispine sends no notifications on {resource!r}, only on {', '.join(RESOURCES)}.")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError(
            f"The endpoint on the host {parts.hostname} is no address like https://hub.example.com/vidispine, "
            "without credentials."
        )
    address = parts._replace(
        netloc=f"vidispine:{quote(secret, safe='')}@{parts.netloc}", path=f"{parts.path.rstrip('/')}/{resource}"
    )
    document = notification_document(
        trigger,
        address.geturl(),
        method=method,
        content_type=content_type,
        retry=retry,
        timeout=timeout,
        synchronous=synchronous,
    )
    # A file belongs to a storage, and older versions know its notifications only there.
    place = "storage/file" if resource == "file" else resource
    answer = (client or configured()).request(
        "POST", f"/{place}/notification", body=document, secrets=(secret, quote(secret, safe=""))
    )
    return _identifier(answer)


def _identifier(answer: object) -> str:
    """The id out of a `URIListDocument`, or out of plain text; it may come as a whole address."""
    match answer:
        case {"uri": [str(found)]} | str(found):
            return found.strip().rstrip("/").rpartition("/")[2]
        case _:
            return ""
