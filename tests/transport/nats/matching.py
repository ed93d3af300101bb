"""What a NATS server makes of subjects and filters, written plainly: the oracle of these tests."""

from __future__ import annotations

from itertools import pairwise

__all__ = ["is_matched", "is_subject", "overlap"]


def is_subject(subject: str) -> bool:
    """Whether a message can be published on it."""
    tokens = subject.split(".")
    plain = all(token and not set(token) & {"*", ">"} for token in tokens)
    return plain and subject.isascii() and subject.isprintable() and " " not in subject and len(subject) <= 4_000


def is_matched(subject: str, filter: str) -> bool:
    """Whether a consumer with this filter gets what is published on the subject."""
    tokens, wanted = subject.split("."), filter.split(".")
    for number, want in enumerate(wanted):
        if want == ">":
            return len(tokens) > number
        if number >= len(tokens) or want not in {"*", tokens[number]}:
            return False
    return len(tokens) == len(wanted)


def overlap(filters: list[str]) -> bool:
    """Whether a subject could match two of them. None of ours has a `*`, so one would lie in the other."""
    if len(set(filters)) < len(filters):
        return True
    heads = sorted(tuple(filter.removesuffix(">")) for filter in filters if filter.endswith(".>"))
    inner = any(
        tuple(filter)[: len(head)] == head for filter in filters for head in heads if filter != "".join(head) + ">"
    )
    return inner or any(longer[: len(shorter)] == shorter for shorter, longer in pairwise(heads))
