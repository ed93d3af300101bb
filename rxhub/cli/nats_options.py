"""The options of commands for the login and the certificates of NATS."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_type_hints

from rxhub.cli.options import flag, option

__all__ = ["NO_FILES", "NatsFiles", "with_nats_files"]


T = TypeVar("T")

_PANEL = "NATS login and TLS"


def _file(help: str, metavar: str = "FILE") -> Any:
    return option(metavar, help, rich_help_panel=_PANEL)


@dataclass(frozen=True, kw_only=True)
class NatsFiles:
    """The values of the options. Each option is `--nats-` and the name of its field."""

    config: Annotated[Path | None, _file("TOML file with servers, login and certificates. Default: RXHUB_NATS_CONFIG.")]
    credentials: Annotated[Path | None, _file("Credentials file (.creds). Default: RXHUB_NATS_CREDENTIALS.")]
    nkey: Annotated[Path | None, _file("File with the NKEY seed of a user. Default: RXHUB_NATS_NKEY.")]
    jwt: Annotated[Path | None, _file("File with a JWT; --nats-nkey has its seed. Default: RXHUB_NATS_JWT.")]
    ca: Annotated[Path | None, _file("Certificate authority of the servers. Default: RXHUB_NATS_CA.", "PEM")]
    certificate: Annotated[Path | None, _file("Client certificate. Default: RXHUB_NATS_CERTIFICATE.", "PEM")]
    private_key: Annotated[
        Path | None, _file("Private key, if it is not in the certificate file. Default: RXHUB_NATS_PRIVATE_KEY.", "PEM")
    ]
    tls_first: Annotated[
        bool,
        flag(
            "Encrypt before the server sends anything. Default: RXHUB_NATS_TLS_FIRST.",
            "--nats-tls-first",
            rich_help_panel=_PANEL,
        ),
    ]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of `NatsOptions` that were given."""
        return {
            each.name: value for each in fields(self) if each.name != "config" and (value := getattr(self, each.name))
        }

    @property
    def is_typed(self) -> bool:
        return self.config is not None or bool(self.settings)


def _defaults() -> dict[str, Any]:
    return {each.name: False if each.name == "tls_first" else None for each in fields(NatsFiles)}


NO_FILES: Final = NatsFiles(**_defaults())


def with_nats_files(run: Callable[..., T]) -> Callable[..., T]:
    """Add the options of `NatsFiles` to a command with a parameter `files`, and make its `nats` optional."""
    hints = get_type_hints(NatsFiles, include_extras=True)
    added = [
        inspect.Parameter(f"nats_{name}", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
        for name, default in _defaults().items()
    ]
    signature = inspect.signature(run, eval_str=True)
    own = [
        each.replace(default="", kind=inspect.Parameter.KEYWORD_ONLY)
        if each.name == "nats" and each.default is inspect.Parameter.empty
        else each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in signature.parameters.values()
        if each.name != "files"
    ]

    @wraps(run)
    def command(**values: Any) -> T:
        given = {name: values.pop(f"nats_{name}") for name in _defaults()}
        return run(**values, files=NatsFiles(**given))

    command.__signature__ = signature.replace(parameters=[*own, *added])  # pyright: ignore[reportAttributeAccessIssue]
    return command
