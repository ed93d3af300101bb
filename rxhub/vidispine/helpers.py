"""Portal's helpers: operations of Vidispine, each between two signals.

- Errors of the call itself (an invalid name, no configuration) are raised before any signal.
- The `pre` signal is sent with `send`: a receiver that raises prevents the request, and the caller gets the error.
- The `post` signal is sent after a successful request, with `send_robust`: errors of receivers are logged and reported
  by the signal, and the caller gets the response.
- `sender` is the class of the helper, `instance` an id or name, `method` the name of the method. The other arguments
  are those of Portal's documentation.

The names of methods and arguments are Portal's, hence the mixed case. Methods return the decoded JSON of Vidispine,
where Portal returns objects.
"""

# ruff: noqa: N802, N803

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from rxhub.vidispine.client import Client, configured, path
from rxhub.vidispine.documents import user_document
from rxhub.vidispine.signals import CREATE, DELETE, GET, INGEST, MODIFY, Pair, vidispine_get_item_ntfcn

__all__ = ["CollectionHelper", "GroupHelper", "IngestHelper", "ItemHelper", "UserHelper"]

_NOTHING: Mapping[str, Any] = {}


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
        """The client of the requests.

        Raises:
            NotConfigured: if there is none.
        """
        return self._client or configured()

    def _between(
        self,
        signals: Pair,
        instance: str,
        method: str,
        request: Callable[[Client], Any],
        *,
        before: Mapping[str, Any] = _NOTHING,
        **named: Any,
    ) -> Any:
        """Send a request between two signals; `before` are further arguments of the first signal."""
        client = self.client
        sender = type(self)
        signals.pre.send(sender=sender, instance=instance, method=method, **before, **named)
        response = request(client)
        signals.post.send_robust(sender=sender, instance=instance, method=method, **named)
        return response

    def _get(self, instance: str, method: str, resource: str) -> Any:
        return self._between(GET, instance, method, lambda client: client.get(resource, runas=self.runas))


class UserHelper(_Helper):
    """Vidispine's users."""

    def createUser(self, newUserName: str, newRealName: str, newPassword: str) -> Any:
        """Create a user.

        Only the `pre` signal carries `newRealName` and `newPassword`.

        Returns:
            The response of Vidispine, the new user if it returns one.

        Raises:
            RequestFailed: with status 409 if the name is taken.
        """
        path(newUserName)
        document = user_document(newUserName, newRealName, newPassword)
        return self._between(
            CREATE,
            newUserName,
            "createUser",
            lambda client: client.request(
                "POST",
                "/user",
                query={"passwordType": "raw"},
                body=document,
                runas=self.runas,
                secrets=(newPassword,),
            ),
            before={"newRealName": newRealName, "newPassword": newPassword},
        )

    def addUserToGroup(self, user_name: str, group_name: str) -> None:
        """Add a user to a group; both signals carry `group_name`."""
        resource = path("group", group_name, "user", user_name)
        self._between(
            MODIFY,
            user_name,
            "addUserToGroup",
            lambda client: client.request("PUT", resource, runas=self.runas),
            group_name=group_name,
        )

    def getUser(self, user_name: str) -> Any:
        """The user of this name.

        Raises:
            NotFound: if there is none.
        """
        return self._get(user_name, "getUser", path("user", user_name))


class GroupHelper(_Helper):
    """Vidispine's groups."""

    def createGroup(self, group_name: str, group_document: Element | str | None = None) -> None:
        """Create a group.

        Args:
            group_name: its name.
            group_document: a `GroupDocument` with its parents, children and users.
        """
        resource = path("group", group_name)
        self._between(
            CREATE,
            group_name,
            "createGroup",
            lambda client: client.request("PUT", resource, body=group_document, runas=self.runas),
        )

    def getGroup(self, group_name: str) -> Any:
        """The group of this name.

        Raises:
            NotFound: if there is none.
        """
        return self._get(group_name, "getGroup", path("group", group_name))


class ItemHelper(_Helper):
    """Vidispine's items."""

    def getItem(self, item_id: str, content: Mapping[str, str | Iterable[str]] | None = None) -> Any:
        """The item of this id; also sends `vidispine_get_item_ntfcn`, as Portal does.

        Args:
            item_id: the item.
            content: what to include, by parameters of Vidispine. Default: `{"content": ["metadata"]}`.

        Raises:
            NotFound: if there is none.
        """
        resource = path("item", item_id)
        wanted = {"content": "metadata"} if content is None else content
        query = {name: each if isinstance(each, str) else ",".join(each) for name, each in wanted.items()}
        response = self._between(
            GET, item_id, "getItem", lambda client: client.get(resource, query=query, runas=self.runas)
        )
        vidispine_get_item_ntfcn.send_robust(sender=type(self), instance=item_id, method="getItem")
        return response

    def getItemMetadata(self, item_id: str) -> Any:
        """The metadata of the item of this id.

        Raises:
            NotFound: if there is none.
        """
        return self._get(item_id, "getItemMetadata", path("item", item_id, "metadata"))

    def setItemMetadata(self, item_id: str, metadata_document: Element | str) -> Any:
        """Change metadata of an item; both signals carry `metadata_document`.

        Args:
            item_id: the item.
            metadata_document: a `MetadataDocument`, see `rxhub.vidispine.metadata_document`.

        Returns:
            The response of Vidispine: the metadata.
        """
        resource = path("item", item_id, "metadata")
        return self._between(
            MODIFY,
            item_id,
            "setItemMetadata",
            lambda client: client.request("PUT", resource, body=metadata_document, runas=self.runas),
            metadata_document=metadata_document,
        )

    def removeItem(self, item_id: str) -> None:
        """Delete an item."""
        resource = path("item", item_id)
        self._between(
            DELETE, item_id, "removeItem", lambda client: client.request("DELETE", resource, runas=self.runas)
        )


class CollectionHelper(_Helper):
    """Vidispine's collections."""

    def createCollection(self, collection_name: str) -> Any:
        """Create a collection; `instance` of the signals is its name.

        Returns:
            The response of Vidispine, with the `id` of the new collection.
        """
        path(collection_name)
        return self._between(
            CREATE,
            collection_name,
            "createCollection",
            lambda client: client.request("POST", "/collection", query={"name": collection_name}, runas=self.runas),
        )

    def getCollection(self, collection_id: str) -> Any:
        """The collection of this id.

        Raises:
            NotFound: if there is none.
        """
        return self._get(collection_id, "getCollection", path("collection", collection_id))

    def addCollectionToCollection(self, collection_id: str, add_collection_id: str) -> Any:
        """Add a collection to another one; `instance` of the signals is the outer one."""
        resource = path("collection", collection_id, add_collection_id)
        return self._between(
            MODIFY,
            collection_id,
            "addCollectionToCollection",
            lambda client: client.request("PUT", resource, query={"type": "collection"}, runas=self.runas),
        )


class IngestHelper(_Helper):
    """Imports into Vidispine."""

    def importFileToPlaceholder(
        self, item_id: str, uri: str | None = None, file_id: str | None = None, tags: str | Iterable[str] | None = None
    ) -> Any:
        """Start the import of a file into a placeholder item.

        Only the `pre` signal carries `query`, the query of the request.

        Args:
            item_id: the placeholder.
            uri: the URI of the file, or
            file_id: the id of a file in a storage.
            tags: the shapes to transcode to.

        Returns:
            The response of Vidispine, with the `jobId` of the import.

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
        resource = path("import", "placeholder", item_id, "container")
        return self._between(
            INGEST,
            item_id,
            "importFileToPlaceholder",
            lambda client: client.request("POST", resource, query=query, runas=self.runas),
            before={"query": query},
        )
