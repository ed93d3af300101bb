"""A Django project on SQLite, with Django's own signals."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent / "django_project"


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    os.environ["STUDIO_DATABASES"] = str(tmp_path_factory.mktemp("databases"))
    os.environ["DJANGO_SETTINGS_MODULE"] = "studio.settings"
    sys.path.insert(0, str(PROJECT))
    import django
    from django.core.management import call_command
    from django.db import connections

    django.setup()
    for name in ("default", "archive"):
        call_command("migrate", database=name, run_syncdb=True, verbosity=0)
    yield
    connections.close_all()
    sys.path.remove(str(PROJECT))


@pytest.fixture
def database(project):
    """The project's databases, empty."""
    from django.core.management import call_command

    for name in ("default", "archive"):
        call_command("flush", database=name, interactive=False, verbosity=0)
