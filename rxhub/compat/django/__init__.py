"""Django's signals over rxhub.

- `Signal`, `receiver`: Django's contract on rxhub's signal; `install` replaces Django's own with them.
- `observe`: one of Django's own signals as an observable.
- `database_signals`, `publish_database_signals`: changes to users, groups and roles as signals and as events.

Django itself is imported only when something of it is used.
"""

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
