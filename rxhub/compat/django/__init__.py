"""Django's signals, implemented with rxhub. Django itself is imported on first use."""

from rxhub.compat.django.database import DatabaseSignals, database_signals
from rxhub.compat.django.installation import install, uninstall
from rxhub.compat.django.observe import observe
from rxhub.compat.django.publishing import publish_database_signals
from rxhub.compat.django.signal import Signal, receiver

__all__ = [
    "DatabaseSignals",
    "Signal",
    "database_signals",
    "install",
    "observe",
    "publish_database_signals",
    "receiver",
    "uninstall",
]
