"""`manage.py` of a project whose signals are all rxhub's: `install()` comes before anything of Django."""

from __future__ import annotations

import os
import sys

from rxhub.compat.django import install

install()

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
    execute_from_command_line(sys.argv)
