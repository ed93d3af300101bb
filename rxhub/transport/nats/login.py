"""What a client sends to log in, and the certificates of its connection; read from files for each connection.

No error contains what a file contains, nor a file name that looks like a secret, such as a seed in place of its file.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rxhub.text.extras import missing_dependency
from rxhub.transport.nats.address import shown_path

if TYPE_CHECKING:
    from rxhub.transport.nats.options import NatsOptions

__all__ = ["LoginError", "login_arguments", "tls_context"]

_MAX_FILE_BYTES = 64 * 1024
_BLOCK = re.compile(r"-{3,} *BEGIN ([A-Z ]+?) *-{3,}\s+([\w.\-=]+)\s+-{3,} *END \1 *-{3,}")
_JWT = re.compile(r"[\w\-]+\.[\w\-]+\.[\w\-]+")


class LoginError(ValueError):
    """A file for the login or for TLS cannot be used. The message says which, and contains no secret."""


def login_arguments(options: NatsOptions) -> dict[str, Any]:
    """The arguments of nats-py's `connect` for a login."""
    if options.credentials is not None:
        text = _read(options.credentials, "credentials file")
        blocks = dict(_BLOCK.findall(text))
        try:
            return _signed(blocks["NATS USER JWT"], blocks["USER NKEY SEED"])
        except (KeyError, ValueError):
            raise LoginError(
                f"the credentials file {shown_path(options.credentials)} does not contain a JWT and the NKEY seed of a "
                "user. Create it with `nsc generate creds`."
            ) from None
    private = None if options.nkey is None else _read(options.nkey, "NKEY file").strip()
    try:
        if options.jwt is not None:
            web_token = _read(options.jwt, "JWT file").strip()
            if not _JWT.fullmatch(web_token):
                raise LoginError(f"the JWT file {shown_path(options.jwt)} does not contain a JWT.")
            return _signed(web_token, private)
        if private is not None:
            _check_seed(private)
            return {"nkeys_seed_str": private}
    except LoginError:
        raise
    except ValueError:
        assert options.nkey is not None
        raise LoginError(
            f"the NKEY file {shown_path(options.nkey)} does not contain the seed of a user, which begins with SU."
        ) from None
    if options.token is not None:
        return {"token": options.token}
    if options.user is not None:
        return {"user": options.user, "password": options.password or ""}
    return {}


def tls_context(options: NatsOptions) -> ssl.SSLContext | None:
    """The certificates of a connection; None for the default ones."""
    if options.ca is None and options.certificate is None:
        return None
    try:
        context = ssl.create_default_context(cafile=None if options.ca is None else os.fspath(options.ca))
    except OSError as error:
        assert options.ca is not None
        raise LoginError(f"the file of certificate authorities {shown_path(options.ca)} {_unusable(error)}") from None
    if options.certificate is not None:
        key = options.private_key
        try:
            # Without this password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(options.certificate, key, password=lambda: b"")
        except (OSError, ValueError) as error:
            both = shown_path(options.certificate) + ("" if key is None else f" with the private key {shown_path(key)}")
            raise LoginError(
                f"the client certificate {both} {_unusable(error)} The private key must belong to the certificate, and "
                "must not be encrypted."
            ) from None
    return context


def _signed(web_token: str, private: str | None) -> dict[str, Any]:
    """The arguments for a JWT. One without a seed is a bearer JWT, for which the server checks no signature."""
    if private is not None:
        _check_seed(private)

    def sign(nonce: str) -> bytes:
        return b"" if private is None else base64.b64encode(_key_pair(private).sign(nonce.encode()))

    return {"user_jwt_cb": web_token.encode, "signature_cb": sign}


def _check_seed(private: str) -> None:
    """Raise ValueError unless it is the seed of a user."""
    try:
        if not private.startswith("SU"):
            raise ValueError
        _key_pair(private).wipe()
    except ModuleNotFoundError:
        raise
    except Exception:
        # nkeys raises errors of many types.
        raise ValueError("not a seed") from None


def _key_pair(private: str) -> Any:
    try:
        import nkeys  # pyright: ignore[reportMissingTypeStubs]
    except ModuleNotFoundError as error:
        raise missing_dependency(error, "A login with an NKEY", "nats") from None
    return cast("Any", nkeys).from_seed(bytearray(private.encode()))


def _read(path: str | os.PathLike[str], what: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_FILE_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        raise LoginError(f"the {what} {shown_path(path)} {_unusable(error)}") from None


def _unusable(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"is not valid PEM, or does not match ({error.reason or 'OpenSSL reports no reason'})."
    reason = error.strerror if isinstance(error, OSError) else "it is not text"
    return f"cannot be read: {reason or type(error).__name__}."
