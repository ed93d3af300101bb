"""Trusted certificate authorities, from the environment variables that ftrack's client reads.

`requests` (for the handshake) and websocket-client 0.59 (`_http.py`) read different ones:
https://requests.readthedocs.io/en/latest/user/advanced/#ssl-cert-verification.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

__all__ = ["HANDSHAKE_VARIABLES", "WEBSOCKET_VARIABLES", "trust"]

HANDSHAKE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE")
# An authority that is trusted with the key is trusted with the events.
WEBSOCKET_VARIABLES = ("WEBSOCKET_CLIENT_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def trust(variables: tuple[str, ...]) -> ssl.SSLContext | None:
    """A context that trusts the authorities of the first variable that is set, and of SSL_CERT_FILE; None if none is.

    Raises:
        OSError: if the file does not exist or contains no certificate; the message names the variable.
    """
    name = next((name for name in variables if os.environ.get(name)), None)
    if name is None:
        return None
    where = os.environ[name]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(**{"capath" if Path(where).is_dir() else "cafile": where})
    except (OSError, ssl.SSLError) as error:
        raise OSError(
            f"Could not read the certificates of {name} from {where}: {error}. Set it to a file or a directory of "
            "certificates in PEM format, or unset it."
        ) from error
    own = os.environ.get("SSL_CERT_FILE")
    if own and Path(own).is_file():
        context.load_verify_locations(cafile=own)
    return context
