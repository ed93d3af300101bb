"""Remove secrets from everything that is logged, recorded, shown or published."""

from rxhub.redaction.secret_names import Secrets, secrets
from rxhub.redaction.strings import LABELS, REDACTED, redacted_text
from rxhub.redaction.values import redacted
from rxhub.text.safe_repr import UNSEEN

__all__ = ["LABELS", "REDACTED", "UNSEEN", "Secrets", "redacted", "redacted_text", "secrets"]
