"""Identities for NATS servers: NKEYs, JWTs of an operator, and certificates, all made for one test."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import nkeys

__all__ = ["Certificates", "KeyPair", "Operator"]


class KeyPair:
    """An NKEY: its seed, and its public name."""

    def __init__(self, prefix: int = nkeys.PREFIX_BYTE_USER) -> None:
        self.seed = nkeys.encode_seed(os.urandom(32), prefix).decode()
        self._pair = nkeys.from_seed(bytearray(self.seed.encode()))
        self.public = self._pair.public_key.decode()

    def jwt(self, subject: str, kind: str, nats: dict[str, Any], lifetime: float | None = None) -> str:
        """A JWT about a key, issued by this one."""
        now = int(time.time())
        claims = {"iat": now, "iss": self.public, "sub": subject, "name": kind, "jti": "TEST"}
        claims |= {"nats": {"type": kind, "version": 2, **nats}}
        if lifetime is not None:
            claims["exp"] = int(now + lifetime)
        parts = [_base64(json.dumps(each).encode()) for each in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims)]
        return ".".join([*parts, _base64(self._pair.sign(".".join(parts).encode()))])


class Operator:
    """An operator with one account for users, whose servers know its accounts from their configuration.

    Attributes:
        revocations: public keys of users that are not admitted, with the time until which their JWTs were issued.
    """

    def __init__(self) -> None:
        self.revocations: dict[str, int] = {}
        self._key = KeyPair(nkeys.PREFIX_BYTE_OPERATOR)
        self._system, self._account = (KeyPair(nkeys.PREFIX_BYTE_ACCOUNT) for _ in range(2))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a server."""
        basic = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
        stored = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
        accounts = {self._system: (basic, {}), self._account: (basic | stored, {"revocations": self.revocations})}
        return {
            "operator": self._key.jwt(self._key.public, "operator", {}),
            "system_account": self._system.public,
            "resolver": "MEMORY",
            "resolver_preload": {
                each.public: self._key.jwt(each.public, "account", {"limits": limits | {"wildcards": True}, **more})
                for each, (limits, more) in accounts.items()
            },
        }

    def user(self, lifetime: float | None = None, is_bearer: bool = False) -> tuple[str, str]:
        """A new user: JWT and seed."""
        key = self.latest_user = KeyPair()
        limits = {"subs": -1, "data": -1, "payload": -1, "bearer_token": is_bearer}
        return self._account.jwt(key.public, "user", limits, lifetime), key.seed

    def credentials(self, lifetime: float | None = None) -> str:
        """The text of a credentials file of a new user, as `nsc` writes it."""
        jwt, seed = self.user(lifetime)
        return (
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n"
            "NKEY Seed printed below can be used to sign and prove identity.\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )


class Certificates:
    """A certificate authority in a folder, and what it signed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.ca = folder / "ca.pem"
        self._key = folder / "ca.key"
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self._new_key = new_key
        # Python 3.13 and later demand the usage of an authority's key.
        subject = ("-days", "2", "-subj", "/CN=test CA", "-addext", "keyUsage=critical,keyCertSign")
        _openssl("req", "-x509", *new_key, *subject, "-keyout", self._key, "-out", self.ca)
        self.server, self.server_key = self.sign("localhost")
        self.client, self.client_key = self.sign("client")

    def sign(self, name: str, address: str = "127.0.0.1", days: int = 2) -> tuple[Path, Path]:
        """A new certificate for this name and this address, and its key; with negative `days`, one that has expired."""
        certificate, key, request = (self._folder / f"{name}.{kind}" for kind in ("pem", "key", "csr"))
        names = self._folder / "names"
        names.write_text(f"subjectAltName=DNS:{name},IP:{address}\nauthorityKeyIdentifier=keyid\n")
        _openssl("req", *self._new_key, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        validity = ["-days", str(days)]
        if days < 0 and "-not_after" in _openssl("x509", "-help"):  # OpenSSL 3.4, which accepts no negative number
            validity = ["-not_before", "20200101000000Z", "-not_after", "20200102000000Z"]
        signing = ("-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-extfile", names, *validity)
        _openssl("x509", "-req", "-in", request, "-out", certificate, *signing)
        return certificate, key

    def settings(self, **more: Any) -> dict[str, Any]:
        """The settings of a server with TLS."""
        files = {"cert_file": self.server, "key_file": self.server_key, "ca_file": self.ca}
        return {"tls": {**{name: str(file) for name, file in files.items()}, **more}}


def _openssl(*arguments: str | Path) -> str:
    """Everything that it prints."""
    command = ["openssl", *map(str, arguments)]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    return ran.stdout


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
