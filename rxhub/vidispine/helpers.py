"""Portal's helpers: operations of Vidispine, each between two signals.

- Errors of the call itself (an invalid name, no configuration) are raised before any signal.
- The `pre` signal is sent with `send`: a receiver that raises prevents the request, and the caller gets the error.
- The `post` signal is sent after a successful request, with `send_robust`: errors of receivers are logged and reported
  by the signal, and the caller gets the response.
- `sender` is the class of the helper, `instance` an id or name, `method` the name of the method. The other arguments
  are those of Portal's documentation.

Names of methods and arguments are Portal's. Methods return the decoded JSON of Vidispine, where Portal returns objects.
They raise NotFound if the object does not exist, and other errors as `Client.request` does.
"""

# ruff: noqa: N802, N803

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from rxhub.vidispine.client import Client, configured, path
from rxhub.vidispine.documents import user_document
from rxhub.vidispine.signals import CREATE, DELETE, GET, INGEST, MODIFY, Pair, vidispine_get_item_ntfcn

__all__ = ["CollectionHelper", "GroupHelper", "IngestHelper", "ItemHelper", "UserHelper"]


class _Helper:
    """Base class of the helpers.

    Args:
        user: ignored, as in Portal.
        runas: the user on whose behalf Vidispine acts: a name or an object with a `username`. Default: the account.
        client: the client. Default: the one of `configure` or of the environment, at each call.
    """

    def __init__(self, user: object = None, runas: object = None, *, client: Client | None = None) -> None:
        name = getattr(runas, "username", runas)
        self.runas = None if name is None else str(name)
        self._client = client

    @property
    def client(self) -> Client:
        """The client of the requests; raises NotConfigured if there is none."""
        return self._client or configured()

    def _between(
        self,
        signals: Pair,
        instance: str,
        method: str,
        request: tuple[str, str],
        *,
        query: Mapping[str, str | list[str]] | None = None,
        body: Element | str | None = None,
        before: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> Any:
        """Send a request (verb, resource) between two signals; only the first one carries `before`."""
        client, before = self.client, before or {}
        named.update(sender=type(self), instance=instance, method=method)
        signals.pre.send(**before, **named)
        secrets = (before["newPassword"],) if "newPassword" in before else ()
        response = client.request(*request, query=query, body=body, runas=self.runas, secrets=secrets)
        signals.post.send_robust(**named)
        return response


class UserHelper(_Helper):
    """Vidispine's users."""

    def createUser(self, newUserName: str, newRealName: str, newPassword: str) -> Any:
        """Create a user; RequestFailed has status 409 if the name is taken.

        Only the `pre` signal carries `newRealName` and `newPassword`.
        """
        path(newUserName)
        document = user_document(newUserName, newRealName, newPassword)
        before = {"newRealName": newRealName, "newPassword": newPassword}
        request, query = ("POST", "/user"), {"passwordType": "raw"}
        return self._between(CREATE, newUserName, "createUser", request, query=query, body=document, before=before)

    def addUserToGroup(self, user_name: str, group_name: str) -> None:
        """Add a user to a group; both signals carry `group_name`."""
        request = "PUT", path("group", group_name, "user", user_name)
        self._between(MODIFY, user_name, "addUserToGroup", request, group_name=group_name)

    def getUser(self, user_name: str) -> Any:
        """The user of this name."""
        return self._between(GET, user_name, "getUser", ("GET", path("user", user_name)))


class GroupHelper(_Helper):
    """Vidispine's groups."""

    def createGroup(self, group_name: str, group_document: Element | str | None = None) -> None:
        """Create a group; a `GroupDocument` can have its parents, children and users."""
        self._between(CREATE, group_name, "createGroup", ("PUT", path("group", group_name)), body=group_document)

    def getGroup(self, group_name: str) -> Any:
        """The group of this name."""
        return self._between(GET, group_name, "getGroup", ("GET", path("group", group_name)))


class ItemHelper(_Helper):
    """Vidispine's items."""

    def getItem(self, item_id: str, content: Mapping[str, str | Iterable[str]] | None = None) -> Any:
        """The item of this id; also sends `vidispine_get_item_ntfcn`, as Portal does.

        Args:
            item_id: the item.
            content: what to include, by parameters of Vidispine. Default: `{"content": ["metadata"]}`.
        """
        request = "GET", path("item", item_id)
        wanted = {"content": "metadata"} if content is None else content
        query = {name: each if isinstance(each, str) else ",".join(each) for name, each in wanted.items()}
        response = self._between(GET, item_id, "getItem", request, query={**query})
        vidispine_get_item_ntfcn.send_robust(sender=type(self), instance=item_id, method="getItem")
        return response

    def getItemMetadata(self, item_id: str) -> Any:
        """The metadata of the item of this id."""
        return self._between(GET, item_id, "getItemMetadata", ("GET", path("item", item_id, "metadata")))

    def setItemMetadata(self, item_id: str, metadata_document: Element | str) -> Any:
        """Change metadata of an item by a `MetadataDocument`, see `rxhub.vidispine.metadata_document`.

        Both signals carry `metadata_document`. Returns the metadata.
        """
        request = "PUT", path("item", item_id, "metadata")
        carried: dict[str, Any] = {"body": metadata_document, "metadata_document": metadata_document}
        return self._between(MODIFY, item_id, "setItemMetadata", request, **carried)

    def removeItem(self, item_id: str) -> None:
        """Delete an item."""
        self._between(DELETE, item_id, "removeItem", ("DELETE", path("item", item_id)))


class CollectionHelper(_Helper):
    """Vidispine's collections."""

    def createCollection(self, collection_name: str) -> Any:
        """Create a collection; `instance` of the signals is its name. The response has the `id` of the new one."""
        path(collection_name)
        request, query = ("POST", "/collection"), {"name": collection_name}
        return self._between(CREATE, collection_name, "createCollection", request, query=query)

    def getCollection(self, collection_id: str) -> Any:
        """The collection of this id."""
        return self._between(GET, collection_id, "getCollection", ("GET", path("collection", collection_id)))

    def addCollectionToCollection(self, collection_id: str, add_collection_id: str) -> Any:
        """Add a collection to another one; `instance` of the signals is the outer one."""
        request = "PUT", path("collection", collection_id, add_collection_id)
        return self._between(MODIFY, collection_id, "addCollectionToCollection", request, query={"type": "collection"})


class IngestHelper(_Helper):
    """Imports into Vidispine."""

    def importFileToPlaceholder(
        self, item_id: str, uri: str | None = None, file_id: str | None = None, tags: str | Iterable[str] | None = None
    ) -> Any:
        """Start the import of a file into a placeholder item. The response has the `jobId` of the import.

        Only the `pre` signal carries `query`, the query of the request.

        Args:
            item_id: the placeholder.
            uri: the URI of the file, or
            file_id: the id of a file in a storage.
            tags: the shapes to transcode to.

        Raises:
            ValueError: if not exactly one of `uri` and `file_id` is given.
        """
        if (uri is None) == (file_id is None):
            raise ValueError(
                f"An import needs either uri or file_id, but uri={uri!r} and file_id={file_id!r} were given."
            )
        query: dict[str, str | list[str]] = {"uri": uri} if uri is not None else {"fileId": str(file_id)}
        if tags:
            query["tag"] = [tags] if isinstance(tags, str) else list(tags)
        request = "POST", path("import", "placeholder", item_id, "container")
        return self._between(INGEST, item_id, "importFileToPlaceholder", request, query=query, before={"query": query})
