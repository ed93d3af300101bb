"""Remove secrets from everything that is logged, recorded, shown or published."""

from rxhub.redaction.secret_names import Secrets, secrets
from rxhub.redaction.strings import redacted_text
from rxhub.redaction.values import redacted

__all__ = ["Secrets", "redacted", "redacted_text", "secrets"]
