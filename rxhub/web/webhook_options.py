"""The file with a server's incoming webhooks.

    [hooks.github]
    scheme = "github"
    secret = "…"
    topic = "github.{header.x-github-event}"

`topic` can contain values of the request: `{header.NAME}`, and `{body.PATH}` with a dotted path. `user` is the user who
publishes the events, by default the user with the name of the webhook. `tolerance` is in seconds, 300 by default.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from rxhub.errors import WebhookError
from rxhub.web.webhook_signatures import Verify, verifier

__all__ = ["TopicError", "Webhook", "read_webhooks"]

_NAME: Final = re.compile(r"[A-Za-z0-9_.~-]{1,64}")
_PLACEHOLDER: Final = re.compile(r"\{(body|header)\.([^{}\s]+)\}")
_LITERAL: Final = re.compile(r"[^\s{}*\x00-\x1f\x7f]*")
_MAX_VALUE_CHARACTERS: Final = 200


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value = msgspec.json.Decoder(str | int).decode


class TopicError(Exception):
    """A request lacks a value that its topic contains."""


class _WebhookTable(msgspec.Struct, forbid_unknown_fields=True):
    topic: str
    scheme: str
    secret: str = ""
    user: str = ""
    tolerance: float = 300.0


class _WebhooksFile(msgspec.Struct, forbid_unknown_fields=True):
    hooks: dict[str, _WebhookTable]


@dataclass(frozen=True, slots=True)
class Webhook:
    """One incoming webhook.

    Attributes:
        name: in the path of its requests.
        user: name of the user who publishes the events.
        verify: checks the signature.
        template: of the topic.
    """

    name: str
    user: str
    verify: Verify
    template: str

    def topic(self, body: msgspec.Raw, headers: Mapping[str, str]) -> str:
        """The topic of a request.

        Args:
            body: JSON.
            headers: with lower-case names.

        Raises:
            TopicError: if the request lacks a value.
        """

        def value(found: re.Match[str]) -> str:
            source, path = found.groups()
            given: object = headers.get(path.lower()) if source == "header" else _at(body, path)
            text = str(given) if type(given) is int else given
            if not isinstance(text, str) or not 0 < len(text) <= _MAX_VALUE_CHARACTERS or not _LITERAL.fullmatch(text):
                raise TopicError(
                    f"The topic of the webhook {self.name} contains {found[0]}, but this request has no such value, or "
                    "one that cannot be part of a topic."
                )
            return text

        return _PLACEHOLDER.sub(value, self.template)


def read_webhooks(path: Path | str) -> dict[str, Webhook]:
    """The webhooks in a file, by name.

    Raises:
        WebhookError: if the file cannot be read, or its content is invalid.
    """
    try:
        document = msgspec.convert(tomllib.loads(Path(path).read_text(encoding="utf-8")), _WebhooksFile)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise WebhookError(f"The webhooks file {path} cannot be used: {error}.") from None
    return {name: _webhook(path, name, options) for name, options in document.hooks.items()}


def _webhook(path: Path | str, name: str, options: _WebhookTable) -> Webhook:
    try:
        if not _NAME.fullmatch(name):
            raise ValueError("Its name may have 64 letters, digits and `_.~-`.")
        if not options.topic or not _LITERAL.fullmatch(_PLACEHOLDER.sub("", options.topic)):
            raise ValueError(
                f"The topic {options.topic!r} is not valid. Example: studio.{{body.type}} or {{header.x-github-event}}."
            )
        if not options.tolerance > 0:
            raise ValueError("Its tolerance must be above 0 seconds.")
        verify = verifier(options.scheme, options.secret, options.tolerance)
    except ValueError as error:
        raise WebhookError(f"The webhook {name!r} in {path} cannot be used: {error}") from None
    return Webhook(name, options.user or name, verify, options.topic)


def _at(body: msgspec.Raw, path: str) -> object:
    """The value at a dotted path; None if there is none. Decodes only what is on the path."""
    value: msgspec.Raw | None = body
    try:
        for step in path.split("."):
            value = _fields(value).get(step)
            if value is None:
                return None
        return _value(value)
    except msgspec.ValidationError:
        return None
