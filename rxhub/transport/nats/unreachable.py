"""Why a connection to a NATS server failed, and what to do about it."""

from __future__ import annotations

from rxhub.errors import HubConnectionError
from rxhub.text.printable import printable
from rxhub.transport.nats.address import shown_path
from rxhub.transport.nats.options import NatsOptions

__all__ = ["NatsUnreachable", "remedy"]

_ENDS = ("alert", "connection lost", "broken pipe", "reset by peer", "unexpected eof")
"""The errors of a connection that the server has ended."""


class NatsUnreachable(HubConnectionError):
    """A server cannot be reached or rejects the connection. The cause is the original error."""

    def __init__(self, server: str, why: str, remedy: str = "") -> None:
        super().__init__(server, why, remedy)
        self.server = server
        self.why = why.removesuffix(".")
        self.remedy = remedy

    def __str__(self) -> str:
        return printable(f"Cannot connect to NATS at {self.server}: {self.why}. {self.remedy}".rstrip())


def remedy(why: str, options: NatsOptions) -> str:
    """What to do about a failed connection; empty if that is not known. Contains no secret of the options."""
    text = why.lower().replace("_", " ")
    if "authorization" in text:
        return _login_remedy(options)
    if "certificate verify failed" in text:
        return _authority_remedy(text, options)
    if "certificate required" in text:
        return "Give a client certificate: NatsOptions(certificate=FILE), or RXHUB_NATS_CERTIFICATE for a command."
    if any(end in text for end in _ENDS):
        # A server that rejects a login or a certificate reports it and disconnects; the disconnect may arrive first.
        if not any(server.startswith("tls:") for server in options.servers):
            return f"If the server runs, check the login. {_login_remedy(options)}"
        if options.certificate is None:
            return "The server may require a client certificate: NatsOptions(certificate=FILE). See its log."
        return f"The server may reject the client certificate {shown_path(options.certificate)}. See its log."
    if "refused" in text or "connect call failed" in text:
        return "Is the server running there? `nats-server -js` starts one, as does `rxhub serve --store DIRECTORY`."
    if "handshake" in text or "expecting info" in text or (options.tls_first and "[ssl" in text):
        given = "does not have `handshake_first`, remove" if options.tls_first else "has `handshake_first`, set"
        return f"If the server {given} tls_first."
    return ""


def _login_remedy(options: NatsOptions) -> str:
    login = options.login
    if options.jwt is not None or options.credentials is not None:
        return f"Check that {login} has not expired and was not revoked, and belongs to this NATS system."
    if login and (options.user is None or options.password):
        return f"Check that {login} is correct, and belongs to this NATS system."
    return (
        "Give a user and a password: EventHub(url, user, password), or RXHUB_NATS_USER and RXHUB_NATS_PASSWORD for a "
        "command. For another kind of login, use NatsOptions."
    )


def _authority_remedy(text: str, options: NatsOptions) -> str:
    """The remedy for a server certificate that is not valid."""
    if "mismatch" in text:
        return "Connect to a name that is in the certificate of the server, or add this name to the certificate."
    if "expired" in text or "not yet valid" in text:
        return "Renew the certificate of the server, or correct the clock of this machine."
    if options.ca is not None:
        return f"Check that {shown_path(options.ca)} contains the authority that signed the certificate of the server."
    return "Give the certificate authority: NatsOptions(ca=FILE), or RXHUB_NATS_CA for a command."
