"""Secrets are taken out before anything is logged, recorded, shown or published.

Theory of operation. A value is secret by the *name* it goes by: the key of a mapping, the first of a pair (as headers
are listed), the `key`, `name`, `type` or `header` beside a `value`, an `old` or a `new`, a field of a dataclass, a
parameter in a string. `rxhub.text.secret_names` decides which names are secret. Passwords in URLs, `Bearer` tokens and
JSON Web Tokens are also found within texts, whatever they go by.

Containers are copied with the secrets replaced by `***`; all else is given back as it is. Each container is visited
once, whichever way leads to it, so that neither a cycle nor a value shared a thousand times costs more than its size;
what lies deeper than 64 levels, or inside itself, is left out as `…`, since nobody has looked into it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import unquote_plus

from rxhub.text.safe_repr import UNSEEN, safe_repr
from rxhub.text.secret_names import Secrets, secrets

__all__ = ["LABELS", "REDACTED", "UNSEEN", "Secrets", "redacted", "redacted_text", "secrets"]

REDACTED = "***"
"""Stands for a secret."""

_MOST_LEVELS = 64
_LONGEST_KEY = 16
_LABEL_WORDS = "key name field header param parameter property attribute variable setting option id label type"
LABELS = frozenset(case(word) for word in _LABEL_WORDS.split() for case in (str.lower, str.capitalize, str.upper))
"""Keys whose value says what the values beside it are, as in `{"name": "password", "value": "…"}`."""

_VALUE_WORDS = "value values val old new before after previous current default initial content text raw data"
# Compared without separators, in lower case.
_VALUES = frozenset(
    (*_VALUE_WORDS.split(), *(f"{which}value" for which in ("old", "new", "default", "previous", "current", "initial")))
)
# Asked first, since nearly all values are of these, and asking whether one is a Mapping takes long.
_SIMPLE: frozenset[type[Any]] = frozenset({int, bool, float, complex, type(None)})
_Values = TypeVar("_Values")


def redacted(values: _Values, also: Secrets | None = None) -> _Values:
    """A copy of a mapping, or of any other container, without its secrets. Never raises.

    Args:
        values: containers may hold containers.
        also: names that are secret here, beside those that are so in the process.

    Returns:
        Containers of the same shape, as plain dicts, lists, tuples, sets; anything else as it is. A text has `***` in
        the place of what it holds of secrets. A dataclass, or another object whose representation shows a secret,
        becomes the text of its representation, without the secret.
    """
    return _Redaction(secrets if also is None else Secrets([*secrets, *also])).of(values, _MOST_LEVELS)


def redacted_text(text: str, is_secret: Callable[[object], bool] = secrets.names) -> str:
    """A text with `***` in place of passwords in URLs, tokens, and values of parameters that have a secret name."""
    if "://" in text:
        text = _USER_OF_URL.sub(_without_password, text)
    if "=" in text:
        text = _PARAMETER.sub(lambda found: _without_value(found, is_secret), text)
    if ":" in text:
        text = _FIELD.sub(lambda found: _without_value(found, is_secret), text)
        text = _HEADER.sub(lambda found: _without_value(found, is_secret), text)
        text = _INLINE.sub(lambda found: _without_value(found, is_secret), text)
        if "{" in text:
            text = _OBJECT.sub(lambda found: _without_labelled(found[0], is_secret), text)
    if "earer " in text or "EARER " in text:
        text = _BEARER.sub(rf"\1{REDACTED}", text)
    return _WEB_TOKEN.sub(REDACTED, text) if "eyJ" in text else text


# Each begins where no name can have begun before, and takes all of it or nothing: linear in the length of the text.
_NAME = r"(?<![\w.\-%\[\]])([\w.\-%\[\]]{1,200}+)"
_USER_OF_URL = re.compile(r"(?<![\w+.\-])([A-Za-z][\w+.\-]{0,30}+://)([^\s/?#@:\"'<>]*+)(:?)([^\s/?#\"'<>]*)@")
_PARAMETER = re.compile(_NAME + r"""(\s?=\s?)("(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|[^\s&;,"')\]}]++)""")
_FIELD = re.compile(
    r"""(?<![\w\\])\\?["']([\w.\-% ]{1,200}+)(\\?["']\s{0,4}:\s{0,4})"""
    r"""(\\".*?\\"|"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|[^\s,"')\]}\[{]++)"""
)
_HEADER = re.compile(r"^([A-Za-z][\w\-]{0,60}+)(:[ \t]{1,4})(\S[^\r\n]*+)", re.MULTILINE)
# Within a line, a value ends with its word; cookies end with the line.
_INLINE = re.compile(
    r"""(?i)(?<![\w.\-])([a-z][\w\-]{0,60}+)(:[ \t]{0,4}+)(?![/:])"""
    r"""((?<=cookie: )[^\r\n]++|"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'"""
    r"""|(?:(?:basic|bearer|digest|token|negotiate|apikey)[ ]++)?[^\s&;,"')\]}\[{]++)"""
)
# What JSON or Python writes of a mapping that holds no other.
_OBJECT = re.compile(r"""\{(?:[^{}"']|"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')++\}""")
_LABEL_IN_OBJECT = re.compile(r"""["'](\w{1,16})["']\s{0,4}:\s{0,4}["']([^"']{1,200})["']""")
_VALUE_IN_OBJECT = re.compile(
    r"""(?<=["'])([\w\-]{1,16})(["']\s{0,4}:\s{0,4})"""
    r"""("(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|\[[^\[\]]*+\]|[^\s,"'}\]\[]++)"""
)
_BEARER = re.compile(r"(?i)\b(bearer +)(?=[\w.~+/\-]*[\d._~+/\-])[\w.~+/\-]{8,}+=*")
_WEB_TOKEN = re.compile(r"(?<![\w\-])eyJ[\w\-]{5,}+\.[\w\-]{5,}+\.[\w\-]*+")


def _without_password(found: re.Match[str]) -> str:
    scheme, user, colon, password = found.groups()
    if colon and password:
        return f"{scheme}{user}:{REDACTED}@"
    # NATS takes what stands alone for a token.
    return f"{scheme}{REDACTED}@" if user and scheme.lower() in ("nats://", "tls://") else found[0]


def _without_value(found: re.Match[str], is_secret: Callable[[object], bool]) -> str:
    name, sign, value = found.groups()
    if not is_secret(unquote_plus(name)) or value == REDACTED:
        return found[0]
    quote = next((mark for mark in ('\\"', '"', "'") if value.startswith(mark) and len(value) > len(mark)), "")
    begin = found[0][: found.start(1) - found.start()]
    return f"{begin}{name}{sign}{quote}{REDACTED}{quote}"


def _without_labelled(text: str, is_secret: Callable[[object], bool]) -> str:
    """The text of a mapping, without the values beside a label that is the name of a secret."""
    for label in _LABEL_IN_OBJECT.finditer(text):
        if label[1].lower() in LABELS and is_secret(label[2]):
            return _VALUE_IN_OBJECT.sub(lambda found: _without_value(found, _is_value), text)
    return text


def _is_value(key: object) -> bool:
    """Whether a key is one of those beside a label, such as `value` and `new_value`."""
    return isinstance(key, str) and len(key) <= _LONGEST_KEY and re.sub(r"[_\- ]", "", key).lower() in _VALUES


class _Redaction:
    """One call of `redacted`."""

    def __init__(self, secrets: Secrets) -> None:
        self._is_secret = secrets.names
        # By identity, with whether anything was left out of it; each container is kept too, so that none is made anew
        # at the address of one that is gone.
        self._done: dict[int, tuple[object, Any, bool]] = {}
        self._left_out = 0

    def of(self, value: Any, levels: int) -> Any:
        kind = cast("type[Any]", type(value))
        if kind in _SIMPLE:
            return value
        if issubclass(kind, (str, bytes, bytearray)):
            return self._text(value)
        copy = self._way(kind)
        if copy is None:
            return value
        done = self._done.get(id(value))
        if done is not None:
            self._left_out += done[2]
            return done[1]
        if not levels:
            self._left_out += 1
            return UNSEEN
        before = self._left_out
        self._done[id(value)] = value, UNSEEN, True
        try:
            found = copy(value, levels - 1)
        except Exception:
            self._left_out += 1
            found = f"<{kind.__name__} that cannot be read>"
        self._done[id(value)] = value, found, self._left_out > before
        return found

    def _way(self, kind: type[Any]) -> Callable[[Any, int], Any] | None:
        """How values of a class are looked into; None if they are not."""
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
            return None  # its representation shows nothing of it
        return self._shown if hasattr(kind, "__dict__") and "__dict__" in dir(kind) else None

    def _text(self, text: Any) -> Any:
        if issubclass(type(text), (bytes, bytearray)):
            kind = bytearray if issubclass(type(text), bytearray) else bytes
            known = kind.decode(text, "latin-1")
            found = redacted_text(known, self._is_secret)
            if found == known:
                return text
            self._left_out += 1
            return kind(found, "latin-1")
        known = str.__getitem__(text, slice(None))
        found = redacted_text(known, self._is_secret)
        if found == known:
            return text
        self._left_out += 1
        return found

    def _hidden(self) -> str:
        self._left_out += 1
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
                if type(key) is str and _is_value(key):
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
                return [copies[0], self._hidden()]  # a pair that has been through JSON
            for place, item in enumerate(copies[:-1]):
                if type(item) is str and item[:1] == "-" and "=" not in item and self._is_secret(item):
                    copies[place + 1] = self._hidden()  # a command line: --password, and then what it is
        if isinstance(items, (set, frozenset)):
            return type(items)(copies) if type(items) in (set, frozenset) else set(copies)
        return copies

    def _error(self, error: BaseException, levels: int) -> Any:
        before = self._left_out
        arguments = self.of(error.args, levels)
        if self._left_out == before:
            return error
        return f"{type(error).__qualname__}({', '.join(map(safe_repr, arguments))})"

    def _declared(self, value: Any, levels: int) -> Any:
        """A dataclass and its like: itself, or what it shows without the secrets."""
        before = self._left_out
        fields: list[str] = []
        for name in _fields_of(value.__class__):
            if self._is_secret(name):
                self._left_out += 1
                fields.append(f"{name}={REDACTED}")
            else:
                fields.append(f"{name}={safe_repr(self.of(getattr(value, name), levels))}")
        return value if self._left_out == before else f"{value.__class__.__qualname__}({', '.join(fields)})"

    def _shown(self, value: Any, levels: int) -> Any:
        """Any other object: itself, or its representation where that shows the secrets among its attributes."""
        before = self._left_out
        hidden: list[tuple[object, Any]] = []
        for name, item in list(cast("dict[str, Any]", vars(value)).items()):
            own = self._left_out
            found = self._hidden() if self._is_secret(name) else self.of(item, levels)
            if self._left_out > own:
                hidden.append((item, found))
        if not hidden:
            return value
        text = known = repr(value)
        for item, found in hidden:
            text = text.replace(repr(item), REDACTED if found is REDACTED else safe_repr(found))
        if text == known:
            self._left_out = before
            return value
        return text


def _fields_of(kind: type[Any]) -> Iterable[str]:
    """The names that a class shows in its representation: of a dataclass, a msgspec Struct, an attrs class."""
    fields: Mapping[str, Any] | None = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        return [name for name, field in fields.items() if getattr(field, "repr", True)]
    return getattr(kind, "__struct_fields__", None) or [
        field.name for field in getattr(kind, "__attrs_attrs__", ()) if getattr(field, "repr", True)
    ]
