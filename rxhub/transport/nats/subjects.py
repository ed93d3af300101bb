"""Map topics to NATS subjects, and back.

Each token of a topic becomes one token of the subject. NATS gives `*`, `>` and white space a meaning and rejects empty
tokens, so any other than plain characters are written as `%` and two hex digits for each byte of their UTF-8, and an
empty token as `%` alone. Different topics always have different subjects.

    studio.event.ftrack.update          an event
    studio.reply.4f1c                   a reply to the subscriber with this id
    studio.retry.ingest.ftrack.update   a retried dead letter of the group `ingest`
    studio.dead.ingest.ftrack.update    a dead letter, in the stream `studio-dead`
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from rxhub.errors import EventError, ExpressionError
from rxhub.event import Event
from rxhub.expression import Condition, parse

__all__ = ["REPLY", "Subjects", "consumer_name"]

REPLY = "ftrack.meta.reply"

_STREAM = re.compile(r"[A-Za-z0-9_-]{1,100}")
_DEAD = "-dead"
_PLAIN_TOPIC = re.compile(r"[A-Za-z0-9_~-]+(?:\.[A-Za-z0-9_~-]+)*")
_PLAIN_GROUP = re.compile(r"(?!.*--)[A-Za-z0-9_-]{1,100}")
# NATS reads no control line beyond 4,096 bytes; a subject stands in one together with an inbox and sizes.
_LONGEST = 3_000


class Subjects:
    """The subjects of one stream."""

    def __init__(self, stream: str) -> None:
        if not isinstance(stream, str) or _STREAM.fullmatch(stream) is None:
            raise ValueError(f"A stream's name is 1 to 100 letters, digits, `-` and `_`, but {stream!r} was given.")
        if stream.endswith(_DEAD):
            raise ValueError(
                f"{stream!r} is what the dead letters of the stream {stream.removesuffix(_DEAD)!r} are kept in. "
                f"Choose a name that does not end with {_DEAD!r}."
            )
        self.stream = stream
        self.dead_stream = stream + _DEAD
        self.events = f"{stream}.event.>"
        self.replies = f"{stream}.reply.>"
        self.retries = f"{stream}.retry.>"
        self.dead_letters = f"{stream}.dead.>"

    def __repr__(self) -> str:
        return f"Subjects({self.stream!r})"

    def event(self, topic: str) -> str:
        return _checked(f"{self.stream}.event.{_tokens(topic)}", topic)

    def reply(self, id: str) -> str:
        return _checked(f"{self.stream}.reply.{_token(id)}", id)

    def retries_of(self, group: str) -> str:
        return f"{self.stream}.retry.{consumer_name(group)}.>"

    def dead_of(self, group: str) -> str:
        return f"{self.stream}.dead.{consumer_name(group)}.>"

    def of(self, event: Event) -> str:
        """The subject on which an event is published; a reply to one subscriber, known by its id, has its own."""
        return self.addressed(event.topic, event.target)

    def addressed(self, topic: str, target: Any) -> str:
        if topic == REPLY:
            asker = _addressee(target)
            if asker is not None:
                return self.reply(asker)
        return self.event(topic)

    def topic(self, subject: str) -> str:
        """The topic of a subject. Raises EventError if no topic has this subject in this stream."""
        match subject.split("."):
            case [self.stream, "reply", token] if token:
                return REPLY
            case [self.stream, "event", *tokens] | [self.stream, "retry" | "dead", _, *tokens] if tokens:
                try:
                    topic = ".".join(map(_text, tokens))
                    if _tokens(topic) == ".".join(tokens):
                        return topic
                except UnicodeDecodeError:
                    pass
            case _:
                pass
        raise EventError(f"The subject {subject!r} of the stream {self.stream!r} does not encode a topic.")


def consumer_name(group: str) -> str:
    """The name of a group in NATS: at most 128 letters, digits, `-` and `_`.

    A group of at most 100 letters, digits, `_` and single `-` keeps its name. Others get the characters that can be
    kept and a digest, after `--`, which no kept name contains: two groups never share a name.
    """
    if _PLAIN_GROUP.fullmatch(group):
        return group
    kept = re.sub(r"[^A-Za-z0-9_]+", "-", group)[:64].strip("-")
    return f"{kept}--{sha256(group.encode(errors='surrogatepass')).hexdigest()[:32]}"


def _tokens(topic: str) -> str:
    if not isinstance(topic, str):
        raise EventError(f"The topic of an event must be a string, not {type(topic).__name__}.")
    if _PLAIN_TOPIC.fullmatch(topic):
        return topic
    return ".".join([_token(token) for token in topic.split(".")])


def _token(text: str) -> str:
    try:
        # Dots that `quote` leaves belong to an id: a topic was split at its dots.
        return quote(text, safe="").replace(".", "%2E") or "%"
    except UnicodeEncodeError:
        raise EventError(
            f"{_shown(text)} has half of a character in it (a lone surrogate), which UTF-8 lacks."
        ) from None


def _text(token: str) -> str:
    return "" if token == "%" else unquote_to_bytes(token).decode()


def _checked(subject: str, text: str) -> str:
    if len(subject) > _LONGEST:
        raise EventError(
            f"{_shown(text)} is too long: it makes a subject of {len(subject):,} characters, and NATS takes no more "
            f"than {_LONGEST:,}. What is not of ASCII counts three for each byte."
        )
    return subject


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def _addressee(target: Any) -> str | None:
    """The id that a target compares with, if it has no other condition."""
    if not isinstance(target, str) or "id" not in target:
        return None
    try:
        tree = parse(target)
    except ExpressionError:
        return None
    # A star is a wildcard in one of the dialects.
    if isinstance(tree, Condition) and (tree.key, tree.operator) == ("id", "=") and "*" not in tree.value:
        return tree.value
    return None
