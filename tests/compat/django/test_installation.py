from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rxhub.compat.django import install
from rxhub.errors import RxHubError

ROOT = Path(__file__).parents[3]
PROJECT = ROOT / "tests" / "compat" / "django_project"


def python(databases, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=PROJECT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "STUDIO_DATABASES": str(databases),
            "DJANGO_SETTINGS_MODULE": "studio.settings",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_is_refused_when_django_has_made_its_signals(project):
    with pytest.raises(RxHubError, match=r"django\.db\.models\.signals.*first thing in manage\.py"):
        install()


SAVED = """
from django.contrib.auth.models import User
from django.core.signals import request_started
from django.db.models.signals import post_save
from rxhub import Signal

assert isinstance(post_save, Signal) and isinstance(request_started, Signal)
assert post_save.name == "post_save"
seen = []
post_save.on("created=true and sender=User").subscribe(seen.append)
User.objects.create_user("jane")
User.objects.get().save()
print([(e.sender.__name__, e["instance"].username) for e in seen])
"""


def test_a_project_runs_on_it(tmp_path):
    for command in (["check", "--fail-level", "INFO"], ["migrate", "--run-syncdb", "-v", "0"]):
        ran = python(tmp_path, "manage.py", *command)
        assert (ran.returncode, ran.stderr) == (0, "")
    ran = python(tmp_path, "manage.py", "shell", "-v", "0", "-c", SAVED)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "[('User', 'jane')]\n", "")


UNKNOWN = """
import manage, django
django.setup()
from django.core.checks import run_checks
from django.db.models.signals import post_save

def unheard(**kwargs): ...

post_save.connect(unheard, sender="studio.Absent")
print(*[f"{e.id}: {e.msg}" for e in run_checks()])
"""


def test_the_system_checks_know_a_receiver_for_an_absent_model(tmp_path):
    ran = python(tmp_path, "-c", UNKNOWN)
    assert ran.stdout == (
        "signals.E001: The function 'unheard' was connected to the 'post_save' signal with a lazy reference to the "
        "sender 'studio.absent', but app 'studio' doesn't provide model 'absent'.\n"
    ), ran.stderr


BACK = """
from rxhub.compat.django import install, uninstall, Signal, receiver
import django.dispatch, django.dispatch.dispatcher as dispatcher
theirs = dispatcher.Signal, dispatcher.receiver
install()
install()
for place in (django.dispatch, dispatcher):
    assert (place.Signal, place.receiver) == (Signal, receiver)
uninstall()
uninstall()
for place in (django.dispatch, dispatcher):
    assert (place.Signal, place.receiver) == theirs
print("back")
"""


def test_it_can_be_undone(tmp_path):
    ran = python(tmp_path, "-c", BACK)
    assert ran.stdout == "back\n", ran.stderr


def test_it_is_imported_without_django(tmp_path):
    ran = python(tmp_path, "-c", "import sys, rxhub.compat.django; print({'django', 'asgiref'} & {*sys.modules})")
    assert ran.stdout == "set()\n", ran.stderr
