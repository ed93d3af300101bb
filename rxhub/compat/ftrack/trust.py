"""Which certificate authorities are trusted, by the environment variables that ftrack's client heeds.

ftrack's client makes the handshake by `requests` and the WebSocket by `websocket-client`, each of which has variables
of its own: https://requests.readthedocs.io/en/latest/user/advanced/#ssl-cert-verification and the source of
websocket-client 0.59, `_http.py`.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

__all__ = ["HANDSHAKE", "WEBSOCKET", "trust"]

HANDSHAKE = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE")
"""Variables for the handshake, the first that is set wins."""

WEBSOCKET = ("WEBSOCKET_CLIENT_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables for the WebSocket; a program that trusts an authority with the key trusts it with the events."""


def trust(variables: tuple[str, ...]) -> ssl.SSLContext | None:
    """What trusts the authorities in the file or directory that one of the variables names, and in SSL_CERT_FILE.

    Args:
        variables: names of environment variables; the first that is set counts.

    Returns:
        None if none is set: then the default holds.

    Raises:
        OSError: if what the variable names does not exist or holds no certificate; says which variable.
    """
    name = next((name for name in variables if os.environ.get(name)), None)
    if name is None:
        return None
    where = os.environ[name]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if Path(where).is_dir():
            context.load_verify_locations(capath=where)
        else:
            context.load_verify_locations(cafile=where)
    except (OSError, ssl.SSLError) as error:
        raise OSError(
            f"The certificates that {name} names could not be read from {where}: {error}. Name a file of certificates "
            "in PEM format or a directory of them, or unset the variable."
        ) from error
    own = os.environ.get("SSL_CERT_FILE")
    if own and Path(own).is_file():
        context.load_verify_locations(cafile=own)
    return context
