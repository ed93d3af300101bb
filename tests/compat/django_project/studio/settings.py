from __future__ import annotations

import os
from pathlib import Path

DATABASES = {
    name: {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(os.environ["STUDIO_DATABASES"], name)}
    for name in ("default", "archive")
}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "studio"]
MIGRATION_MODULES = {"auth": None, "contenttypes": None}  # a proxy of their models has none either
SECRET_KEY = "of no use"
USE_TZ = True
