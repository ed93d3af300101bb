"""Creates API keys, hashes them with a salt, and checks them in constant time.

The hash is the standard library's scrypt with the cost of OWASP's password storage cheat sheet (N=2^14, r=8, p=5: 16
MiB and some tenths of a second). Keys that `new_key` creates cannot be guessed behind any hash. The cost protects keys
that people choose. A hash contains its parameters, so they can be raised without changing existing files.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from os import urandom
from secrets import token_urlsafe

from rxhub.errors import UsersError

__all__ = ["Hash", "hashed", "new_key"]

_N, _R, _P = 2**14, 8, 5
_MAX_MEMORY_BYTES = 256 * 1024 * 1024
_MAX_P = 64


def new_key() -> str:
    """A random key of 256 bits."""
    return token_urlsafe(32)


def hashed(key: str) -> str:
    """The salted hash of a key, as in a users file: `scrypt$N$r$p$salt$hash`."""
    salt = urandom(16)
    digest = _scrypt(key, salt, _N, _R, _P)
    return f"scrypt${_N}${_R}${_P}${b64encode(salt).decode()}${b64encode(digest).decode()}"


class Hash:
    """A parsed salted hash. Raises UsersError if the text is invalid, or a check would need more than 256 MiB."""

    __slots__ = ("_digest", "_n", "_p", "_r", "_salt", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            kind, n, r, p, salt, digest = text.split("$")
            self._n, self._r, self._p = int(n), int(r), int(p)
            self._salt, self._digest = b64decode(salt, validate=True), b64decode(digest, validate=True)
        except ValueError:
            raise _invalid_hash() from None
        costs = self._n > 1 and self._n & (self._n - 1) == 0 and self._r > 0 and 0 < self._p <= _MAX_P
        if kind != "scrypt" or not costs or 128 * self._n * self._r * 2 > _MAX_MEMORY_BYTES or len(self._digest) < 16:
            raise _invalid_hash()

    def check(self, key: str) -> bool:
        """Whether this is the hash of `key`. Takes some tenths of a second, without the GIL."""
        digest = _scrypt(key, self._salt, self._n, self._r, self._p, len(self._digest))
        return hmac.compare_digest(digest, self._digest)


def _scrypt(key: str, salt: bytes, n: int, r: int, p: int, length: int = 64) -> bytes:
    secret = key.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY_BYTES, dklen=length)


def _invalid_hash() -> UsersError:
    return UsersError("A user's key must have the form scrypt$N$r$p$salt$hash. Create one with `rxhub user add NAME`.")
