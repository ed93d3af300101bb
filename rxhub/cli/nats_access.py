"""The options of commands that connect to NATS, converted to the access that they give."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from rxhub.cli.credentials import NATS_OPTIONS, credentials
from rxhub.cli.nats_options import NatsFiles, with_nats_files
from rxhub.cli.options import Nats, NatsPassword, NatsUser

__all__ = ["with_nats"]

T = TypeVar("T")

_FIRST = {"nats": Nats}
_LAST = {"files": NatsFiles, "nats_user": NatsUser, "nats_password": NatsPassword}


def with_nats(run: Callable[..., T]) -> Callable[..., T]:
    """Replace the parameter `access` of a command, a `ServerAccess`, by the options for the servers and the login."""
    signature = inspect.signature(run, eval_str=True)

    @wraps(run)
    def command(
        *, nats: str, files: NatsFiles, nats_user: str | None = None, nats_password: str | None = None, **values: Any
    ) -> T:
        return run(access=credentials(nats, nats_user, nats_password, NATS_OPTIONS, files), **values)

    parameters: list[inspect.Parameter] = []
    for each in signature.parameters.values():
        if each.name == "access":
            parameters += _parameters(_FIRST, inspect.Parameter.empty)
        else:
            parameters.append(each.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    parameters += _parameters(_LAST, None)
    command.__signature__ = signature.replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]
    return with_nats_files(command)


def _parameters(annotations: dict[str, Any], default: object) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation in annotations.items()
    ]
