"""Remove secrets from containers.

A value is secret if its *name* is secret: the key of a mapping, the first item of a pair (as headers are listed), the
`key`, `name`, `type` or `header` beside a `value`, an `old` or a `new`, a field of a dataclass, a parameter in a
string. Containers are copied with the secrets replaced by `***`. Each container is visited once, so that neither a
cycle nor a value shared a thousand times costs more than its size. Values deeper than 64 levels, or inside themselves,
become `…`, since they are not searched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from rxhub.redaction.secret_names import Secrets, secrets
from rxhub.redaction.strings import LABELS, REDACTED, is_value_key, redacted_text
from rxhub.text.safe_repr import UNSEEN, safe_repr

__all__ = ["redacted"]

_MAX_LEVELS = 64
# Checked first: most values are of these types, and `issubclass(kind, Mapping)` is slow.
_SIMPLE: frozenset[type[Any]] = frozenset({int, bool, float, complex, type(None)})
_Values = TypeVar("_Values")


def redacted(values: _Values, also: Secrets | None = None) -> _Values:
    """A copy of a container without secrets. Never raises.

    Args:
        values: a container, which may be nested.
        also: further names that are secret.

    Returns:
        Plain dicts, lists, tuples and sets of the same shape. Secrets in strings are replaced by `***`. A dataclass, or
        another object whose representation shows a secret, becomes its representation without the secret.
    """
    return _Redaction(secrets if also is None else Secrets([*secrets, *also])).of(values, _MAX_LEVELS)


class _Redaction:
    """One call of `redacted`."""

    def __init__(self, secrets: Secrets) -> None:
        self._is_secret = secrets.names
        # By identity: the container (kept alive, since ids are reused), its copy, and whether a secret was removed.
        self._done: dict[int, tuple[object, Any, bool]] = {}
        self._removed = 0

    def of(self, value: Any, levels: int) -> Any:
        kind = cast("type[Any]", type(value))
        if kind in _SIMPLE:
            return value
        if issubclass(kind, (str, bytes, bytearray)):
            return self._text(value)
        copy = self._copier(kind)
        if copy is None:
            return value
        done = self._done.get(id(value))
        if done is not None:
            self._removed += done[2]
            return done[1]
        if not levels:
            self._removed += 1
            return UNSEEN
        before = self._removed
        self._done[id(value)] = value, UNSEEN, True
        try:
            found = copy(value, levels - 1)
        except Exception:
            self._removed += 1
            found = f"<{kind.__name__} that cannot be read>"
        self._done[id(value)] = value, found, self._removed > before
        return found

    def _copier(self, kind: type[Any]) -> Callable[[Any, int], Any] | None:
        """The function that copies values of a class; None for values that are not searched."""
        if issubclass(kind, Mapping):
            return self._mapping
        if issubclass(kind, tuple):
            return self._tuple
        if issubclass(kind, (list, set, frozenset, deque)):
            return self._items
        if issubclass(kind, BaseException):
            return self._error
        if _fields_of(kind):
            return self._declared
        if kind.__repr__ is object.__repr__ or issubclass(kind, type) or kind.__module__ == "builtins":
            return None  # its representation shows none of its attributes
        return self._object if hasattr(kind, "__dict__") and "__dict__" in dir(kind) else None

    def _text(self, text: Any) -> Any:
        if issubclass(type(text), (bytes, bytearray)):
            kind = bytearray if issubclass(type(text), bytearray) else bytes
            known = kind.decode(text, "latin-1")
            found = redacted_text(known, self._is_secret)
            if found == known:
                return text
            self._removed += 1
            return kind(found, "latin-1")
        known = str.__getitem__(text, slice(None))
        found = redacted_text(known, self._is_secret)
        if found == known:
            return text
        self._removed += 1
        return found

    def _hidden(self) -> str:
        self._removed += 1
        return REDACTED

    def _mapping(self, mapping: Mapping[Any, Any], levels: int) -> dict[Any, Any]:
        is_secret, of = self._is_secret, self.of
        copy: dict[Any, Any] = {}
        is_labelled = False
        for key, value in mapping.items():
            copy[key] = self._hidden() if is_secret(key) else of(value, levels)
            if type(key) is str and key.lower() in LABELS and is_secret(value):
                is_labelled = True
        if is_labelled:
            for key in copy:
                if type(key) is str and is_value_key(key):
                    copy[key] = self._hidden()
        return copy

    def _tuple(self, items: tuple[Any, ...], levels: int) -> tuple[Any, ...]:
        names: tuple[str, ...] | None = getattr(items, "_fields", None)
        if names is not None:
            pairs = zip(names, items, strict=True)
            values = [self._hidden() if self._is_secret(name) else self.of(item, levels) for name, item in pairs]
            return type(items)._make(values)  # type: ignore[attr-defined]  # a named tuple
        if len(items) == 2 and self._is_secret(items[0]):
            return (items[0], self._hidden())
        return tuple([self.of(item, levels) for item in items])

    def _items(self, items: Iterable[Any], levels: int) -> Any:
        copies = [self.of(item, levels) for item in items]
        if isinstance(items, list):
            if len(copies) == 2 and self._is_secret(copies[0]):
                return [copies[0], self._hidden()]  # a pair that was decoded from JSON
            for place, item in enumerate(copies[:-1]):
                if type(item) is str and item[:1] == "-" and "=" not in item and self._is_secret(item):
                    copies[place + 1] = self._hidden()  # a command line: --password followed by its value
        if isinstance(items, (set, frozenset)):
            return type(items)(copies) if type(items) in (set, frozenset) else set(copies)
        return copies

    def _error(self, error: BaseException, levels: int) -> Any:
        before = self._removed
        arguments = self.of(error.args, levels)
        if self._removed == before:
            return error
        return f"{type(error).__qualname__}({', '.join(map(safe_repr, arguments))})"

    def _declared(self, value: Any, levels: int) -> Any:
        """A dataclass or similar: itself, or its representation without the secrets."""
        before = self._removed
        fields: list[str] = []
        for name in _fields_of(value.__class__):
            if self._is_secret(name):
                self._removed += 1
                fields.append(f"{name}={REDACTED}")
            else:
                fields.append(f"{name}={safe_repr(self.of(getattr(value, name), levels))}")
        return value if self._removed == before else f"{value.__class__.__qualname__}({', '.join(fields)})"

    def _object(self, value: Any, levels: int) -> Any:
        """Another object: itself, or its representation without the secrets of its attributes."""
        before = self._removed
        hidden: list[tuple[object, Any]] = []
        for name, item in list(cast("dict[str, Any]", vars(value)).items()):
            own = self._removed
            found = self._hidden() if self._is_secret(name) else self.of(item, levels)
            if self._removed > own:
                hidden.append((item, found))
        if not hidden:
            return value
        text = known = repr(value)
        for item, found in hidden:
            text = text.replace(repr(item), REDACTED if found is REDACTED else safe_repr(found))
        if text == known:
            self._removed = before
            return value
        return text


def _fields_of(kind: type[Any]) -> Iterable[str]:
    """The fields in the representation of a dataclass, a msgspec Struct or an attrs class."""
    fields: Mapping[str, Any] | None = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        return [name for name, field in fields.items() if getattr(field, "repr", True)]
    return getattr(kind, "__struct_fields__", None) or [
        field.name for field in getattr(kind, "__attrs_attrs__", ()) if getattr(field, "repr", True)
    ]
