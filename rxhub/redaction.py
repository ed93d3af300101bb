"""Secrets are taken out before anything is logged, recorded, shown or published.

Theory of operation. A value is secret by the *name* it goes by: the key of a mapping, the first of a pair (as headers
are listed), the `key` or `name` beside a `value` (as documents of fields are written), a field of a dataclass. A name
is compared without case, `_`, `-` and blanks, and by its end, so that `password` also means `newPassword` and
`OLD_PASSWORD`, and `token` means `access-token`.

Containers are copied with the secrets replaced by `***`; all else is given back as it is. Each container is visited
once, whichever way leads to it, so that neither a cycle nor a value shared a thousand times costs more than its size;
what lies deeper than 64 levels, or inside itself, is left out as `…`, since nobody has looked into it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableSet
from typing import Any, TypeVar, cast

from rxhub.markup import shown

__all__ = ["REDACTED", "UNSEEN", "Secrets", "redacted", "secrets"]

REDACTED = "***"
"""Stands for a secret."""

UNSEEN = "…"
"""Stands for what lies too deep to be looked at, or inside itself."""

_MOST_LEVELS = 64
_LONGEST_NAME = 200
_FIELDS = ("key", "name")
_VALUES = ("value", "values")
# Asked first, since nearly all values are of these, and asking whether one is a Mapping takes long.
_SIMPLE: frozenset[type[Any]] = frozenset({str, int, bool, float, bytes, type(None)})
_Values = TypeVar("_Values")


class Secrets(MutableSet[str]):
    """The names of secrets: a set that takes them as people write them.

    Safe to read in any thread while another one changes it.

    Args:
        names: to begin with.

    Raises:
        TypeError: if a name is no text.
        ValueError: if nothing is left of a name without case, `_`, `-` and blanks.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        if isinstance(names, str):
            raise TypeError(f"The names of secrets are a list of texts, but the text {names!r} was given.")
        # A tuple, since that is what str.endswith takes; it is replaced, never changed.
        self._names: tuple[str, ...] = tuple(sorted({_checked(name) for name in names}))

    def names(self, name: object) -> bool:
        """Whether what goes by `name` is secret."""
        return _plain(name).endswith(self._names)

    def add(self, value: str) -> None:
        self._names = tuple(sorted({*self._names, _checked(value)}))

    def discard(self, value: str) -> None:
        self._names = tuple(sorted({*self._names} - {_checked(value)}))

    def __contains__(self, name: object) -> bool:
        return _plain(name) in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"Secrets({list(self._names)!r})"


def _plain(name: object) -> str:
    """A name without case and separators; empty for what is no name."""
    if isinstance(name, bytes):
        name = name[-_LONGEST_NAME:].decode("latin-1")  # ASGI's headers
    if not isinstance(name, str):
        return ""
    return name[-_LONGEST_NAME:].casefold().replace("_", "").replace("-", "").replace(" ", "")


def _checked(name: str) -> str:
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"The name of a secret is text, but {type(name).__name__} was given.")
    plain = _plain(name)
    if not plain:
        raise ValueError(f"{shown(name)} cannot be the name of a secret: every name, or none, would end with it.")
    return plain


secrets = Secrets(
    [
        "newPassword",
        "password",
        "passwords",
        "passwd",
        "passphrase",
        "secret",
        "secrets",
        "token",
        "authorization",
        "credential",
        "credentials",
        "cookie",
        "api_key",
        "apiKey",
        "access_key",
        "secret_key",
        "private_key",
    ]
)
"""The names that are secret in this process; add your own: `rxhub.redaction.secrets.add("pin")`."""


def redacted(values: _Values, also: Secrets | None = None) -> _Values:
    """A copy of a mapping, or of any other container, without its secrets. Never raises.

    Args:
        values: containers may hold containers.
        also: names that are secret here, beside those that are so in the process.

    Returns:
        Containers of the same shape, as plain dicts, lists, tuples, sets; anything else as it is. A dataclass that has
        a secret field becomes the text of its representation, without the secret.
    """
    return _Redaction(secrets if also is None else Secrets([*secrets, *also])).of(values, _MOST_LEVELS)


class _Redaction:
    """One call of `redacted`."""

    def __init__(self, secrets: Secrets) -> None:
        self._is_secret = secrets.names
        # By identity; each container is kept too, so that none is made anew at the address of one that is gone.
        self._done: dict[int, tuple[object, Any]] = {}

    def of(self, value: Any, levels: int) -> Any:
        kind = cast("type[Any]", type(value))
        if kind in _SIMPLE:
            return value
        copy = None
        if issubclass(kind, Mapping):
            copy = self._mapping
        elif issubclass(kind, tuple):
            copy = self._tuple
        elif issubclass(kind, (list, set, frozenset, deque)):
            copy = self._items
        elif _fields_of(kind) and any(map(self._is_secret, _fields_of(kind))):
            copy = self._declared
        if copy is None:
            return value
        done = self._done.get(id(value))
        if done is not None:
            return done[1]
        if not levels:
            return UNSEEN
        self._done[id(value)] = value, UNSEEN
        try:
            found = copy(value, levels - 1)
        except Exception:
            found = f"<{kind.__name__} that cannot be read>"
        self._done[id(value)] = value, found
        return found

    def _mapping(self, mapping: Mapping[Any, Any], levels: int) -> dict[Any, Any]:
        is_secret, of = self._is_secret, self.of
        copy = {key: REDACTED if is_secret(key) else of(value, levels) for key, value in mapping.items()}
        if any(is_secret(copy.get(field)) for field in _FIELDS):
            copy.update((value, REDACTED) for value in _VALUES if value in copy)
        return copy

    def _tuple(self, items: tuple[Any, ...], levels: int) -> tuple[Any, ...]:
        names: tuple[str, ...] | None = getattr(items, "_fields", None)
        if names is not None:
            pairs = zip(names, items, strict=True)
            values = [REDACTED if self._is_secret(name) else self.of(item, levels) for name, item in pairs]
            return type(items)._make(values)  # type: ignore[attr-defined]  # a named tuple
        if len(items) == 2 and self._is_secret(items[0]):
            return (items[0], REDACTED)
        return tuple([self.of(item, levels) for item in items])

    def _items(self, items: Iterable[Any], levels: int) -> Any:
        copies = [self.of(item, levels) for item in items]
        if isinstance(items, list) and len(copies) == 2 and self._is_secret(copies[0]):
            return [copies[0], REDACTED]  # a pair that has been through JSON
        if isinstance(items, (set, frozenset)):
            return type(items)(copies) if type(items) in (set, frozenset) else set(copies)
        return copies

    def _declared(self, value: Any, levels: int) -> str:
        fields = [
            f"{name}={REDACTED if self._is_secret(name) else shown(self.of(getattr(value, name), levels))}"
            for name in _fields_of(value.__class__)
        ]
        return f"{value.__class__.__qualname__}({', '.join(fields)})"


def _fields_of(kind: type[Any]) -> Iterable[str]:
    """The names that a class shows in its representation: of a dataclass, a msgspec Struct, an attrs class."""
    return (
        getattr(kind, "__dataclass_fields__", None)
        or getattr(kind, "__struct_fields__", None)
        or [field.name for field in getattr(kind, "__attrs_attrs__", ())]
    )
