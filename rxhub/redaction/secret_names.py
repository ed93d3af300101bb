"""Decide which names are names of secrets.

A name is split into words at separators and capitals; digits and a plural `s` are dropped. So `newPassword2`,
`NEW_PASSWORD` and `new-passwords` are all "new password". A name is secret if adjacent words, joined, are one of the
names below, or if a word ends with such a name of at least five letters (`newpassword`, `csrfmiddlewaretoken`).

A name is not secret if it describes a secret: its last word is in `ABOUT` (`token_count`, `password_changed_at`), or
its first word is in `ASKING` (`has_password`, `max_tokens`). Other words are compared as a whole, so `author`,
`secretary`, `monkey`, `keys`, `passport`, `compass`, `render_pass` and `session` are not secret. `pass` is secret only
if it is the whole name. Counts of tokens (`tokens_used`) are not secret.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, MutableSet
from functools import lru_cache

from rxhub.text.safe_repr import safe_repr

__all__ = ["ABOUT", "ASKING", "Secrets", "secrets"]

_ABOUT = """
age at backend changed count counter created date disabled domain enabled expiration expired expires expiry kind
length lifetime limit method mode name on policy provider required scheme size state status strength time
timestamp ttl type updated valid verified
"""
ABOUT = frozenset(_ABOUT.split())
"""Last words of names that describe a secret."""

ASKING = frozenset(("has", "is", "max", "min", "needs", "num", "number", "requires", "total"))
"""First words of names that describe a secret."""

_COUNTED = frozenset(("used", "usage", "remaining", "left", "spent", "total", "max", "min"))
# Names that have another meaning beside other words.
_ALONE = frozenset(("pass",))
_MAX_NAME_LENGTH = 200
_MAX_WORDS = 16
_MIN_SUFFIX_LENGTH = 5
_SHORT_SUFFIXES = ("jwt", "pwd")
_CACHE_SIZE = 4_096
# A run of capitals, as in APIKey, ends before the one that begins a word.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")


class Secrets(MutableSet[str]):
    """A set of names of secrets, in any spelling. Thread-safe for readers while one thread changes it."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        if isinstance(names, str):
            raise TypeError(f"The names of secrets must be a list of strings, but the string {names!r} was given.")
        self._put({_checked(name) for name in names})

    def _put(self, names: set[str]) -> None:
        # Replaced, never changed.
        self._names = frozenset(names)
        self._is_secret: Callable[[str], bool] = lru_cache(_CACHE_SIZE)(_IsSecret(self._names))

    def names(self, name: object) -> bool:
        """Whether the value of a name is secret."""
        if isinstance(name, str):
            return self._is_secret(str.__getitem__(name, slice(-_MAX_NAME_LENGTH, None)))
        # ASGI headers are bytes.
        return isinstance(name, bytes) and self._is_secret(bytes.decode(name[-_MAX_NAME_LENGTH:], "latin-1"))

    def add(self, value: str) -> None:
        self._put({*self._names, _checked(value)})

    def discard(self, value: str) -> None:
        self._put({*self._names} - {_checked(value)})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _singular("".join(_words(name))) in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"Secrets({list(self)!r})"


class _IsSecret:
    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._ends = tuple(name for name in names if len(name) >= _MIN_SUFFIX_LENGTH or name in _SHORT_SUFFIXES)

    def __call__(self, name: str) -> bool:
        words = _words(name)[-_MAX_WORDS:]
        if not words or words[-1] in ABOUT or (words[0] in ASKING and len(words) > 1):
            # Names that were added are secret whatever words they have.
            return bool(words) and _singular("".join(words)) in self._names
        if words[-1] in _COUNTED and words[-2:-1] == ["tokens"]:
            return _singular("".join(words)) in self._names
        for begin in range(len(words)):
            together = ""
            for word in words[begin:]:
                together += word
                if _singular(together) in self._names and (together not in _ALONE or len(words) == 1):
                    return True
        # A suffix of a word, or of all words joined.
        return any(_singular(word).endswith(self._ends) for word in (*words, "".join(words)))


def _words(name: str) -> list[str]:
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name)
    return [word.casefold() for word in _WORD.findall(name)]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] != "s" else word


def _checked(name: str) -> str:
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"The name of a secret must be a string, but {type(name).__name__} was given.")
    plain = _singular("".join(_words(name)))
    if not plain:
        raise ValueError(f"{safe_repr(name)} is not a valid name of a secret: it has no letters.")
    return plain


secrets = Secrets(
    [
        *("password", "passwd", "passphrase", "passcode", "password_hash", "password_confirmation", "password_confirm"),
        *("pwd", "pass", "user_pass", "db_pass", "database_pass", "smtp_pass", "mail_pass", "ftp_pass", "proxy_pass"),
        *("secret", "client_secret", "token", "jwt", "bearer", "otp", "totp", "pin_code", "one_time_code"),
        *("authorization", "authorisation", "auth", "basic_auth", "credential", "cred", "cookie", "set_cookie"),
        *("session_id", "sess_id", "session_key", "php_sess_id", "j_session_id", "csrf", "xsrf"),
        *("api_key", "access_key", "secret_key", "private_key", "signing_key", "encryption_key", "decryption_key"),
        *("auth_key", "master_key", "shared_key", "ssh_key", "service_key", "account_key", "license_key"),
    ]
)
"""The names of secrets in this process. Add your own: `rxhub.redaction.secrets.add("pin")`."""
