"""Signatures of incoming webhooks: GitHub's, Standard Webhooks, and functions of users.

A signature covers the bytes of the body as they were received. It is compared as text, in constant time: decoding would
accept several texts for one signature.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from time import time
from typing import Final, TypeAlias

__all__ = ["SignatureError", "Verify", "WebhookRequest", "verifier"]

GITHUB: Final = "github"
STANDARD: Final = "standard-webhooks"

_MAX_ID_CHARACTERS: Final = 256


class SignatureError(Exception):
    """A request has no valid signature."""


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A request with a valid signature.

    Attributes:
        id: as the sender gives it. A repeated attempt has the same.
        signed: identifies what was signed. A replay has the same.
        event_id: of the event, derived from what was signed.
    """

    id: str
    signed: str
    event_id: str


Verify: TypeAlias = Callable[[bytes, Mapping[str, str]], WebhookRequest]
"""Returns the delivery of a body and headers with lower-case names, or raises `SignatureError`."""


def verifier(scheme: str, secret: str, tolerance: float, clock: Callable[[], float] = time) -> Verify:
    """The check of a signature scheme.

    Args:
        scheme: `github`, `standard-webhooks`, or a function as `package.module:name`.
        secret: shared with the sender.
        tolerance: seconds by which the time of a signature may differ from the clock.
        clock: seconds since the epoch.

    Raises:
        ValueError: if the scheme is unknown, the function cannot be imported, or the secret is invalid.
    """
    if ":" in scheme:
        return _function(scheme, secret)
    if scheme not in {GITHUB, STANDARD}:
        raise ValueError(
            f"The scheme {scheme!r} is unknown. Use {GITHUB}, {STANDARD}, or a function: package.module:name."
        )
    if not secret:
        raise ValueError(f"The scheme {scheme} needs a secret.")
    return _github(secret.encode()) if scheme == GITHUB else _standard(_standard_secret(secret), tolerance, clock)


def _github(secret: bytes) -> Verify:
    """`X-Hub-Signature-256`. It covers the body only: no time, and not the id in `X-GitHub-Delivery`.

    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    """

    def verify(body: bytes, headers: Mapping[str, str]) -> WebhookRequest:
        expected = f"sha256={hmac.new(secret, body, sha256).hexdigest()}"
        if not _is_equal(_header(headers, "x-hub-signature-256"), expected):
            raise SignatureError("The signature in X-Hub-Signature-256 is wrong.")
        digest = sha256(body).hexdigest()
        return WebhookRequest(_checked_id(headers.get("x-github-delivery") or digest), digest, digest[:32])

    return verify


def _standard(secret: bytes, tolerance: float, clock: Callable[[], float]) -> Verify:
    """Symmetric signatures of Standard Webhooks, which cover the id and the time as well.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """

    def verify(body: bytes, headers: Mapping[str, str]) -> WebhookRequest:
        id, sent = _checked_id(_header(headers, "webhook-id")), _header(headers, "webhook-timestamp")
        if not (sent.isascii() and sent.isdigit() and len(sent) < 20):
            raise SignatureError("The header webhook-timestamp must be a number of seconds.")
        content = f"{id}.{sent}.".encode("latin-1") + body
        expected = f"v1,{b64encode(hmac.digest(secret, content, 'sha256')).decode()}"
        # A sender that changes its secret sends several.
        if not any(_is_equal(each, expected) for each in _header(headers, "webhook-signature").split(" ")):
            raise SignatureError("The signature in webhook-signature is wrong.")
        if abs(clock() - int(sent)) > tolerance:
            raise SignatureError(
                f"The time of the signature differs from the server's clock by more than {tolerance:g} s. Send the "
                "event again with a new signature, or correct the clock."
            )
        return WebhookRequest(id, f"{id}.{sent}", id)

    return verify


def _function(path: str, secret: str) -> Verify:
    """A function `verify(body, headers, secret)` that returns the id of a delivery, or raises `ValueError`."""
    module, _, name = path.partition(":")
    try:
        check: Callable[[bytes, Mapping[str, str], str], str] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"The function {path} cannot be imported: {error}.") from None

    def verify(body: bytes, headers: Mapping[str, str]) -> WebhookRequest:
        try:
            id = check(body, headers, secret)
        except ValueError as error:
            raise SignatureError(f"The signature is wrong: {error}") from None
        if not isinstance(id, str) or not id:
            raise SignatureError(f"The function {path} must return the id of the delivery, or raise ValueError.")
        return WebhookRequest(_checked_id(id), f"{id}.{sha256(body).hexdigest()}", id)

    return verify


def _standard_secret(text: str) -> bytes:
    encoded = text.removeprefix("whsec_").rstrip("=")
    try:
        secret = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError as error:
        raise ValueError(f"The secret of {STANDARD} must be in base64, perhaps after `whsec_`: {error}.") from None
    if not secret:
        raise ValueError(f"The secret of {STANDARD} is empty.")
    return secret


def _header(headers: Mapping[str, str], name: str) -> str:
    found = headers.get(name)
    if not found:
        raise SignatureError(f"The header {name} is missing.")
    return found


def _checked_id(id: str) -> str:
    if len(id) > _MAX_ID_CHARACTERS or not id.isprintable():
        raise SignatureError(f"The id of a delivery may have {_MAX_ID_CHARACTERS} printable characters.")
    return id


def _is_equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("latin-1", "replace"), expected.encode())
