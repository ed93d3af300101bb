"""The users of a server, and the users file.

    [users."jane.doe"]
    key = "scrypt$16384$8$5$…"
    publish = ["studio.*", "ftrack.action.launch"]
    subscribe = ["*"]
    admin = true

`publish` and `subscribe` are optional, and allow all topics by default. `admin` is optional, and false by default.
People edit the rules by hand, so `add` and `remove` keep comments and the order. Both lock the file while they read,
change and replace it, so that no change of another process or thread is lost.
"""

from __future__ import annotations

import hmac
import os
import re
import tomllib
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_bytes
from tempfile import mkstemp
from typing import Any, cast

from rxhub.errors import UsersError
from rxhub.server.acl import Topics
from rxhub.server.file_lock import locked
from rxhub.server.key_hash import Hash, hashed, new_key
from rxhub.text.extras import missing_dependency

__all__ = ["User", "Users", "UsersFile"]

_NAME = re.compile(r"[^\x00-\x20\x7f\"\\\ud800-\udfff]{1,256}")
_TOPIC = re.compile(r"[^\x00-\x20\x7f\"'\\*\ud800-\udfff]{1,256}\*?|\*")
_FIELDS = ("key", "publish", "subscribe", "admin")
_LOCK_TIMEOUT_S = 10.0


class User:
    """A user who may connect, with the hash of the key.

    Attributes:
        name: `api_user` in ftrack's clients.
        publish: topics that the user may publish.
        subscribe: topics that the user may receive.
        is_admin: whether the user may see all clients, disconnect them, and retry and drop dead letters.
    """

    __slots__ = ("_verified", "hash", "is_admin", "name", "publish", "subscribe")

    def __init__(
        self,
        name: str,
        hash: Hash,
        publish: Topics | None = None,
        subscribe: Topics | None = None,
        *,
        is_admin: bool = False,
    ) -> None:
        self.name = name
        self.is_admin = is_admin
        self.hash = hash
        self.publish = publish or Topics()
        self.subscribe = subscribe or Topics()
        self._verified: bytes | None = None

    @classmethod
    def with_key(cls, name: str, key: str, *, is_admin: bool = False) -> User:
        """A user with this key, who may publish and receive all topics."""
        user = cls(name, Hash(hashed(key)), is_admin=is_admin)
        user.mark_verified(key)
        return user

    def is_verified(self, key: str) -> bool:
        """Whether this key has been checked before and is correct. If not, it may be correct nevertheless.

        After an outage, many clients reconnect at once. Only the first of a user needs a hash.
        """
        return self._verified is not None and hmac.compare_digest(self._verified, _fingerprint(key))

    def mark_verified(self, key: str) -> None:
        """Remember that `key` is correct, by a fingerprint that is useless outside this process."""
        self._verified = _fingerprint(key)

    def has_same_key(self, other: User) -> bool:
        """Whether both have the same hash of a key."""
        return self.hash.text == other.hash.text


_SECRET = token_bytes(32)


def _fingerprint(key: str) -> bytes:
    return hmac.digest(_SECRET, key.encode("utf-8", "surrogatepass"), "sha256")


class Users:
    """An unchanging set of users. `UsersFile` reads changes of a file."""

    def __init__(self, users: Iterable[User] = ()) -> None:
        self._users: Mapping[str, User] = {user.name: user for user in users}

    def __len__(self) -> int:
        return len(self._users)

    def __iter__(self) -> Iterator[User]:
        return iter(self._users.values())

    def get(self, name: str) -> User | None:
        return self._users.get(name)

    def refresh(self) -> bool:
        """Read changes of the users. Returns whether there were any."""
        return False


class UsersFile(Users):
    """The users in a TOML file, which is read again after changes.

    Attributes:
        path: of the file.

    Raises:
        UsersError: if the file cannot be read, or its content is invalid.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        # Before reading, so that `refresh` detects a change in between.
        self._state = self._stat()
        super().__init__(_users_in(self._text()))

    def refresh(self) -> bool:
        """Read the file if it has changed. If that fails, the users stay as they are.

        Raises:
            UsersError: if it has changed and cannot be read.
        """
        state = self._stat()
        if state == self._state:
            return False
        if not state:
            # An editor may be saving it. Deleting the file should not disconnect all users.
            raise UsersError(f"The users file {self.path} does not exist. The users stay as they were.")
        self._state = state
        before = self._users
        fresh = {user.name: user for user in _users_in(self._text())}
        for user in fresh.values():
            old = before.get(user.name)
            if old is not None and old.has_same_key(user):
                user._verified = old._verified  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._users = fresh
        return True

    def add(
        self,
        name: str,
        *,
        key: str | None = None,
        publish: Iterable[str] | None = None,
        subscribe: Iterable[str] | None = None,
        admin: bool = False,
    ) -> str:
        """Add a user to the end of the file.

        Args:
            name: of the user.
            key: of the user; None creates one.
            publish: topics that the user may publish; None allows all.
            subscribe: topics that the user may receive; None allows all.
            admin: whether the user is an administrator.

        Returns:
            The key. The file contains only its hash.

        Raises:
            UsersError: if the user exists, or the name, key or a rule is invalid.
        """
        if not _NAME.fullmatch(name):
            raise UsersError(
                f"The name {name!r} is not valid. Use 1 to 256 characters without spaces, quotes and backslashes."
            )
        key = new_key() if key is None else key
        if not key:
            raise UsersError("A user's key cannot be empty.")
        # Before locking the file, because hashing takes some tenths of a second.
        fields: dict[str, Any] = {"key": hashed(key)}
        for field, topics in (("publish", publish), ("subscribe", subscribe)):
            if topics is not None:
                fields[field] = [_checked_rule(topic) for topic in topics]
        if admin:
            fields["admin"] = True
        with self._editing() as users:
            if name in users:
                raise UsersError(f"The user {name!r} already exists. Remove it first: `rxhub user remove {name}`.")
            users[name] = fields
            users[name].trivia.indent = "\n"  # a blank line before the table
        self.refresh()
        return key

    def remove(self, name: str) -> None:
        """Remove a user from the file.

        Raises:
            UsersError: if the user does not exist, or `users` is an inline table.
        """
        missing = UsersError(f"The user {name!r} does not exist in {self.path}.")
        if not self._stat():
            raise missing  # editing creates the directory
        with self._editing() as users:
            if name not in users:
                raise missing
            del users[name]
        self.refresh()

    @contextmanager
    def _editing(self) -> Generator[Any]:
        """Yield the table of users, and then replace the file. Other writers wait."""
        try:
            import tomlkit
            from tomlkit.items import Table
        except ModuleNotFoundError as error:
            raise missing_dependency(error, "Changing a users file", "server") from None
        path = self.path.resolve()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path, _LOCK_TIMEOUT_S):
                text = self._text()
                _users_in(text)
                document = tomlkit.parse(text if text.endswith("\n") or not text else f"{text}\n")
                users = document.setdefault("users", tomlkit.table(is_super_table=True))
                if not isinstance(users, Table):
                    raise UsersError(
                        f"The format of {self.path} cannot be changed automatically. Edit the file by hand."
                    )
                yield users
                _replace(path, tomlkit.dumps(document))
        except TimeoutError:
            raise UsersError(
                f"The users file {self.path} was not changed: another process has locked it for "
                f"{_LOCK_TIMEOUT_S:g} s. Try again. If that fails, find the process with `fuser {self.path}`."
            ) from None
        except OSError as error:
            raise UsersError(f"The users file {self.path} cannot be changed: {error}.") from None

    def _text(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise UsersError(f"The users file {self.path} cannot be read: {error}.") from None

    def _stat(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except OSError:
            return ()
        # ctime, so that an unreadable file is read again when its permissions change.
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns


def _users_in(text: str) -> list[User]:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsersError(f"The users file is not valid TOML: {error}.") from None
    users = document.pop("users", {})
    if document or not isinstance(users, dict):
        raise UsersError(f'A users file may only contain tables [users."NAME"], not {next(iter(document), "users")!r}.')
    return [_user(name, fields) for name, fields in cast("dict[str, Any]", users).items()]


def _user(name: str, fields: object) -> User:
    if not isinstance(fields, dict) or not isinstance(cast("dict[str, Any]", fields).get("key"), str):
        raise UsersError(f"The user {name!r} has no key. Create one with `rxhub user add {name}`.")
    table = cast("dict[str, Any]", fields)
    if unknown := sorted(table.keys() - set(_FIELDS)):
        raise UsersError(f"The user {name!r} has an unknown field {unknown[0]!r}. Use {', '.join(_FIELDS)}.")
    if not isinstance(is_admin := table.get("admin", False), bool):
        raise UsersError(f"The field admin of the user {name!r} must be true or false, not {is_admin!r}.")
    rules = _topics(name, table, "publish"), _topics(name, table, "subscribe")
    return User(name, Hash(table["key"]), *rules, is_admin=is_admin)


def _topics(name: str, fields: Mapping[str, Any], field: str) -> Topics:
    topics = fields.get(field, ["*"])
    if not isinstance(topics, list):
        raise UsersError(f"The field {field} of the user {name!r} must be a list of topics, not {topics!r}.")
    for topic in cast("list[object]", topics):
        if not isinstance(topic, str) or not _TOPIC.fullmatch(topic):
            raise UsersError(
                f"The field {field} of the user {name!r} contains {topic!r}. Use exact topics, or prefixes with one * "
                "at the end."
            )
    return Topics(cast("list[str]", topics))


def _checked_rule(topic: str) -> str:
    if not _TOPIC.fullmatch(topic):
        raise UsersError(f"The rule {topic!r} is not valid. Use an exact topic, or a prefix with one * at the end.")
    return topic


def _replace(path: Path, text: str) -> None:
    """Replace a file at once. Only the owner may read the hashes, and the owner and group stay the same."""
    descriptor, temporary = mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            if os.name == "posix":
                before = path.stat()
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, 0o600 | before.st_mode & 0o040)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
    if os.name == "posix":
        # Otherwise, a power failure may restore a removed user.
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
