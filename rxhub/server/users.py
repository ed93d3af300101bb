"""Who may connect: the users file.

    [users."jane.doe"]
    key = "scrypt$16384$8$5$…"
    publish = ["studio.*", "ftrack.action.launch"]
    subscribe = ["*"]

`publish` and `subscribe` may be left out, and then allow all topics. People edit the rules by hand, so `add` and
`remove` change their own lines alone and leave comments and order as they are. Both lock the file while they read,
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

__all__ = ["User", "Users", "UsersFile"]

_NAME = re.compile(r"[^\x00-\x20\x7f\"\\\ud800-\udfff]{1,256}")
_TOPIC = re.compile(r"[^\x00-\x20\x7f\"'\\*\ud800-\udfff]{1,256}\*?|\*")
_FIELDS = {"key", "publish", "subscribe"}
_LOCK_TIMEOUT_S = 10.0


class User:
    """One who may connect.

    Attributes:
        name: what the user is called, `api_user` to ftrack's clients.
        hash: of the user's key.
        publish: topics that the user may publish.
        subscribe: topics that the user may receive.
    """

    __slots__ = ("_verified", "hash", "name", "publish", "subscribe")

    def __init__(self, name: str, hash: Hash, publish: Topics | None = None, subscribe: Topics | None = None) -> None:
        self.name = name
        self.hash = hash
        self.publish = publish or Topics()
        self.subscribe = subscribe or Topics()
        self._verified: bytes | None = None

    @classmethod
    def with_key(cls, name: str, key: str) -> User:
        """A user who may do everything, for a server that lives as long as the key is remembered."""
        user = cls(name, Hash(hashed(key)))
        user.mark_verified(key)
        return user

    def is_verified(self, key: str) -> bool | None:
        """Whether this key has been checked before, in no time; None if it has to be checked.

        A studio's machines all reconnect at once after an outage; only the first of a user costs a hash.
        """
        if self._verified is not None and hmac.compare_digest(self._verified, _fingerprint(key)):
            return True
        return None

    def mark_verified(self, key: str) -> None:
        """Note that `key` has been checked, by a mark that is worth nothing outside of this process."""
        self._verified = _fingerprint(key)

    def has_same_key(self, other: User) -> bool:
        """Whether both were given the same key."""
        return self.hash.text == other.hash.text


_SECRET = token_bytes(32)


def _fingerprint(key: str) -> bytes:
    return hmac.digest(_SECRET, key.encode("utf-8", "surrogatepass"), "sha256")


class Users:
    """The users of a server, by name. This kind never changes; `UsersFile` does."""

    def __init__(self, users: Iterable[User] = ()) -> None:
        self._users: Mapping[str, User] = {user.name: user for user in users}

    def __len__(self) -> int:
        return len(self._users)

    def __iter__(self) -> Iterator[User]:
        return iter(self._users.values())

    def get(self, name: str) -> User | None:
        """The user of this name."""
        return self._users.get(name)

    def refresh(self) -> bool:
        """Look again who the users are; whether anything has changed."""
        return False


class UsersFile(Users):
    """The users in a TOML file, read again when it changes.

    Raises:
        UsersError: if the file cannot be read, or has something in it that is no user.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        # Before the text: a change in between is then seen by `refresh`.
        self._state = self._stat()
        super().__init__(_users_in(self._text()))

    def refresh(self) -> bool:
        """Read the file if it has changed; what was read before stays where that fails.

        Raises:
            UsersError: if it has changed, and cannot be read.
        """
        state = self._stat()
        if state == self._state:
            return False
        if not state:
            # An editor may be between two steps of saving it; and nobody means to lock everybody out like this.
            raise UsersError(f"The users file {self._path} is gone; the users stay as they were.")
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
    ) -> str:
        """Write a new user to the end of the file.

        Args:
            name: who may connect.
            key: the key; one is made if none is given.
            publish: topics that the user may publish; all if it is not given.
            subscribe: topics that the user may receive; all if it is not given.

        Returns:
            The key, which can be read nowhere afterwards.

        Raises:
            UsersError: if there is such a user, or a name, key or rule is none.
        """
        if not _NAME.fullmatch(name):
            raise UsersError(
                f"A user's name has 1 to 256 characters without blanks, quotes and backslashes, not {name!r}."
            )
        key = new_key() if key is None else key
        if not key:
            raise UsersError("A user's key cannot be empty.")
        # Before the file is locked: it takes some tenths of a second.
        lines = [f'[users."{name}"]', f'key = "{hashed(key)}"']
        for field, topics in (("publish", publish), ("subscribe", subscribe)):
            if topics is not None:
                lines.append(f"{field} = [{', '.join(_quoted(topic) for topic in topics)}]")
        with self._locked():
            text = self._text()
            names = {user.name for user in _users_in(text)}
            if name in names:
                raise UsersError(
                    f"There is a user {name!r} already; remove that one first: `rxhub user remove {name}`."
                )
            gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
            self._write(text + gap + "\n".join(lines) + "\n", names | {name})
        self.refresh()
        return key

    def remove(self, name: str) -> None:
        """Take a user's lines out of the file.

        Raises:
            UsersError: if there is no such user, or the file is not written as `add` writes it.
        """
        if not self._stat():
            raise UsersError(f"There is no user {name!r} in {self._path}.")
        with self._locked():
            text = self._text()
            names = {user.name for user in _users_in(text)}
            if name not in names:
                raise UsersError(f"There is no user {name!r} in {self._path}.")
            kept: list[str] = []
            inside = False
            for line in text.splitlines(keepends=True):
                if line.lstrip().startswith("["):
                    inside = _is_header_of(name, line)
                if not inside:
                    kept.append(line)
            self._write("".join(kept), names - {name})
        self.refresh()

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Exclude other writers from reading the file until the change of this one is written."""
        path = self._path.resolve()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path, _LOCK_TIMEOUT_S):
                yield
        except TimeoutError:
            raise UsersError(
                f"The users file {self._path} was not changed: another process has been changing it for "
                f"{_LOCK_TIMEOUT_S:g} s. Try again; if that does not help, look for a process that hangs: "
                f"`fuser {self._path}`."
            ) from None
        except OSError as error:
            raise UsersError(f"The users file {self._path} cannot be changed: {error}.") from None

    def _write(self, text: str, names: set[str]) -> None:
        """Replace the file, which is locked, with one that holds exactly these users."""
        try:
            found = {user.name for user in _users_in(text)}
        except UsersError:
            found = None
        if found != names:
            raise UsersError(f"{self._path} is written in a way that cannot be changed here; edit it by hand.")
        # A server that reads meanwhile finds the old file or the new one, and nobody else may read the hashes. A link
        # stays one, and a file that an administrator gave to the server's user or group stays theirs.
        path = self._path.resolve()
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
            # Without it, a power cut may bring back a user who was removed.
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def _text(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise UsersError(f"The users file {self._path} cannot be read: {error}.") from None

    def _stat(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        # The last for permissions: a file that could not be read is tried again when they have changed.
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns


def _users_in(text: str) -> list[User]:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsersError(f"The users file is no TOML: {error}.") from None
    users = document.pop("users", {})
    if document or not isinstance(users, dict):
        raise UsersError(
            f'A users file has tables [users."NAME"] only, but {next(iter(document), "users")!r} was found.'
        )
    return [_user(name, fields) for name, fields in cast("dict[str, Any]", users).items()]


def _user(name: str, fields: object) -> User:
    if not isinstance(fields, dict) or not isinstance(cast("dict[str, Any]", fields).get("key"), str):
        raise UsersError(f"The user {name!r} has no key; make one with `rxhub user add {name}`.")
    table = cast("dict[str, Any]", fields)
    if unknown := sorted(table.keys() - _FIELDS):
        raise UsersError(f"The user {name!r} has {unknown[0]!r}; there are only key, publish and subscribe.")
    return User(name, Hash(table["key"]), _topics(name, table, "publish"), _topics(name, table, "subscribe"))


def _topics(name: str, fields: Mapping[str, Any], field: str) -> Topics:
    topics = fields.get(field, ["*"])
    if not isinstance(topics, list):
        raise UsersError(f"What the user {name!r} may {field} is a list of topics, but {topics!r} was found.")
    for topic in cast("list[object]", topics):
        if not isinstance(topic, str) or not _TOPIC.fullmatch(topic):
            raise UsersError(
                f"What the user {name!r} may {field} are topics, each exact or with one * at its end, not {topic!r}."
            )
    return Topics(cast("list[str]", topics))


def _quoted(topic: str) -> str:
    if not _TOPIC.fullmatch(topic):
        raise UsersError(f"A rule is a topic, exact or with one * at its end, but {topic!r} was given.")
    return f'"{topic}"'


def _is_header_of(name: str, line: str) -> bool:
    try:
        return name in tomllib.loads(line).get("users", {})
    except tomllib.TOMLDecodeError:
        return False
