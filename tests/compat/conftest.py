"""A Django project on SQLite, with Django's own signals."""

from __future__ import annotations

from pathlib import Path

import pytest

PROJECT = Path(__file__).parent / "django_project"


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIO_DATABASES", str(tmp_path_factory.mktemp("databases")))
        patch.setenv("DJANGO_SETTINGS_MODULE", "studio.settings")
        patch.syspath_prepend(PROJECT)
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        for name in ("default", "archive"):
            call_command("migrate", database=name, run_syncdb=True, verbosity=0)
        yield
        connections.close_all()


@pytest.fixture
def database(project):
    """The project's databases without data."""
    from django.core.management import call_command

    for name in ("default", "archive"):
        call_command("flush", database=name, interactive=False, verbosity=0)
