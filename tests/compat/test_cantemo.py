"""Plugins of Cantemo Portal outside Portal."""

from __future__ import annotations

import gc
import importlib
import logging
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from rxhub import EventHub, vidispine
from rxhub.compat import cantemo
from rxhub.compat.cantemo import PortalPresent, bootstrap, bootstrapped, install, uninstall
from rxhub.compat.cantemo.pluginbase import Interface, Plugin, implemented, implements, made
from rxhub.vidispine import Client, ItemHelper, UserHelper, signals
from tests.vidispine.backend import Backend
from tests.vidispine.conftest import backend, client, server, url

__all__ = ["backend", "client", "server", "url"]


@pytest.fixture(autouse=True)
def outside_portal() -> Generator[None]:
    yield
    uninstall()


def plugin(tmp_path: Path, name: str, source: str) -> Path:
    """The module of a plugin in a plugin directory."""
    (tmp_path / f"{name}.py").write_text(dedent(source))
    importlib.invalidate_caches()
    return tmp_path


# A plugin as the vendor's documentation describes them under "Listening to signals": it imports Portal alone.
EXAMPLE = """
import logging

from portal.generic.plugin_interfaces import IPluginBootstrap
from portal.pluginbase.core import Plugin, implements

log = logging.getLogger(__name__)


def before_creation(sender, instance, method, **kwargs):
    log.info("%s asks to create %s", method, instance)


class WatchUsers(Plugin):
    implements(IPluginBootstrap)

    def bootstrap(self):
        from portal.vidispine.iuser import UserHelper
        from portal.vidispine.signals import vidispine_pre_create

        vidispine_pre_create.connect(before_creation, sender=UserHelper)


WatchUsers()
"""


def test_a_plugin_as_the_vendor_describes_it_runs_unchanged(
    client: Client, backend: Backend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="portal.plugins.example")
    install(plugin(tmp_path, "example", EXAMPLE))
    importlib.import_module("portal.plugins.example")
    [result] = bootstrap()
    assert (result.name, result.error) == ("portal.plugins.example.WatchUsers", None)

    iuser = importlib.import_module("portal.vidispine.iuser")
    assert not backend.users
    iuser.UserHelper().createUser(newUserName="john", newRealName="John Doe", newPassword="secretpassword")
    assert "createUser asks to create john" in caplog.text
    assert "john" in backend.users
    assert "secretpassword" not in caplog.text


def test_the_receiver_is_called_before_the_user_exists(client: Client, backend: Backend, tmp_path: Path) -> None:
    source = EXAMPLE.replace("log.info(", "raise PermissionError(")
    install(plugin(tmp_path, "refusing", source))
    importlib.import_module("portal.plugins.refusing")
    bootstrap()
    with pytest.raises(PermissionError, match="asks to create"):
        UserHelper().createUser("john", "John Doe", "secretpassword")
    assert backend.requests == []


def test_an_object_that_only_the_bootstrap_knew_goes_on_listening(
    client: Client, backend: Backend, tmp_path: Path
) -> None:
    source = """
        from portal.pluginbase.core import *
        from portal.generic.plugin_interfaces import IPluginBootstrap
        from portal.vidispine import signals

        heard = []

        class Visits(object):
            def register(self):
                signals.vidispine_get_item_ntfcn.connect(self.visited)

            def visited(self, instance, **kwargs):
                heard.append(instance)

        class Bootstrap(Plugin):
            implements(IPluginBootstrap)

            def __init__(self):
                self.name = "does not call the __init__ of Plugin"

            def bootstrap(self):
                Visits().register()
                signals.vidispine_post_delete.connect(self.deleted)
                signals.vidispine_post_delete.connect(lambda instance, **kwargs: heard.append("local " + instance))

            def deleted(self, instance, method, **kwargs):
                if method == "removeItem":
                    heard.append("deleted " + instance)

        Bootstrap()
    """
    install(plugin(tmp_path, "visited", source))
    module = importlib.import_module("portal.plugins.visited")
    bootstrap()
    gc.collect()
    ItemHelper().getItem("VX-1")
    ItemHelper().removeItem("VX-1")
    assert module.heard == ["VX-1", "deleted VX-1", "local VX-1"]
    [connection] = signals.vidispine_get_item_ntfcn.connections
    assert "portal.plugins.visited.Bootstrap" in str(connection.owner)

    uninstall()
    gc.collect()
    assert not signals.vidispine_get_item_ntfcn.connections
    assert not signals.vidispine_post_delete.connections


def test_each_plugin_runs_once_in_order_and_one_that_fails_hurts_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = """
        from portal.pluginbase.core import Plugin, implements
        from portal.generic.plugin_interfaces import IPluginBootstrap, IPluginURL, IAppRegister
        from portal.vidispine.signals import vidispine_post_create

        ran = []

        class First(Plugin):
            implements(IPluginURL, IPluginBootstrap)
            def bootstrap(self):
                ran.append("first")

        class Failing(Plugin):
            implements(IPluginBootstrap)
            def bootstrap(self):
                ran.append("failing")
                vidispine_post_create.connect(print)
                raise RuntimeError("no such shelf")

        class Heir(First):
            def bootstrap(self):
                ran.append("heir")
                Late()

        class Late(Plugin):
            implements(IPluginBootstrap)
            def bootstrap(self):
                ran.append("late")

        class Page(Plugin):
            implements(IAppRegister)
            def bootstrap(self):
                ran.append("not asked to")

        class Hollow(Plugin):
            implements(IPluginBootstrap)

        class Leaving(Plugin):
            implements(IPluginBootstrap)
            def bootstrap(self):
                raise SystemExit

        for each in First, Failing, Leaving, Heir, Page, Hollow:
            each()
    """
    install(plugin(tmp_path, "several", source))
    module = importlib.import_module("portal.plugins.several")
    results = bootstrap()
    assert module.ran == ["first", "failing", "heir", "late"]
    assert [result.name.rpartition(".")[2] for result in results] == [
        "First",
        "Failing",
        "Leaving",
        "Heir",
        "Page",
        "Hollow",
        "Late",
    ]
    errors = {result.name.rpartition(".")[2]: result.error for result in results if result.error}
    assert isinstance(errors["Failing"], RuntimeError) and isinstance(errors["Hollow"], TypeError)
    assert len(errors) == 3
    assert "Could not bootstrap the plugin portal.plugins.several.Failing: no such shelf" in caplog.text
    assert not signals.vidispine_post_create.connections

    assert bootstrap() == []
    assert module.ran == ["first", "failing", "heir", "late"]
    assert bootstrapped() == tuple(results)


def test_whoever_starts_plugins_with_a_hub_can_start_and_end_portals(tmp_path: Path) -> None:
    install(plugin(tmp_path, "hubs", EXAMPLE))
    importlib.import_module("portal.plugins.hubs")
    with EventHub() as hub:
        cantemo.bootstrap(hub)
        assert len(signals.vidispine_pre_create.connections) == 1
        cantemo.teardown(hub)
    assert not signals.vidispine_pre_create.connections
    assert bootstrapped() == ()
    assert "portal.plugins.hubs" in sys.modules


def test_a_plugin_whose_making_fails_is_none(tmp_path: Path) -> None:
    source = """
        from portal.pluginbase.core import Plugin, implements
        from portal.generic.plugin_interfaces import IPluginBootstrap

        class Broken(Plugin):
            implements(IPluginBootstrap)
            def __init__(self):
                raise RuntimeError("not licensed")

        Broken()
    """
    install(plugin(tmp_path, "broken", source))
    with pytest.raises(RuntimeError, match="not licensed"):
        importlib.import_module("portal.plugins.broken")
    assert bootstrap() == []


def test_a_package_of_several_modules_runs_as_public_plugins_are_written(tmp_path: Path, client: Client) -> None:
    package = tmp_path / "shelves"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '1.0'\n")
    (package / "listeners.py").write_text(
        "from portal.vidispine.iitem import ItemHelper, IngestHelper\n"
        "removed = []\n"
        "def forget_item(instance, method, **kwargs):\n"
        "    if method == 'removeItem':\n"
        "        removed.append(instance)\n"
    )
    (package / "plugin.py").write_text(
        dedent("""
        from portal.generic.plugin_interfaces import (IPluginURL, IPluginBlock, IAppRegister, IPluginBootstrap)
        from portal.pluginbase.core import Plugin, implements
        from portal.utils.apps import is_app_enabled

        class ShelvesRegister(Plugin):
            implements(IAppRegister)

            def __call__(self):
                return {'name': 'Shelves'}

        register = ShelvesRegister()

        class ShelvesBootstrap(Plugin):
            implements(IPluginBootstrap)

            def bootstrap(self):
                if is_app_enabled('shelves'):
                    from portal.plugins.shelves.listeners import forget_item
                    from portal.vidispine.signals import vidispine_post_delete
                    vidispine_post_delete.connect(forget_item)

        ShelvesBootstrap()
        """)
    )
    install(tmp_path)
    importlib.import_module("portal.plugins.shelves.plugin")
    assert [result.error for result in bootstrap()] == [None, None]
    ItemHelper().removeItem("VX-1")
    assert sys.modules["portal.plugins.shelves.listeners"].removed == ["VX-1"]


def test_portals_names_are_rxhubs_things() -> None:
    install()
    import portal.authentication.signals as authentication  # type: ignore[import-not-found]
    from portal.authentication.views import LoginView, LogoutView  # type: ignore[import-not-found]
    from portal.generic.dashboard_interfaces import IDashboardWidget  # type: ignore[import-not-found]
    from portal.vidispine import signals as portals  # type: ignore[import-not-found]
    from portal.vidispine.icollection import CollectionHelper  # type: ignore[import-not-found]
    from portal.vidispine.iexception import NotFoundError, VSAPIError  # type: ignore[import-not-found]
    from portal.vidispine.igroup import GroupHelper  # type: ignore[import-not-found]
    from portal.vidispine.iitem import IngestHelper  # type: ignore[import-not-found]

    assert portals.vidispine_pre_ingest is signals.vidispine_pre_ingest
    assert authentication.portal_post_login is signals.portal_post_login
    assert (CollectionHelper, GroupHelper, IngestHelper) == (
        vidispine.CollectionHelper,
        vidispine.GroupHelper,
        vidispine.IngestHelper,
    )
    assert issubclass(NotFoundError, VSAPIError) and NotFoundError is vidispine.NotFound
    assert LoginView is not LogoutView and IDashboardWidget


def test_a_receiver_of_logins_knows_where_they_came_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = """
        from portal.authentication.signals import portal_post_login

        def welcome(sender, instance, **kwargs):
            from portal.authentication.views import LoginView
            if issubclass(sender, LoginView):
                print("welcome", instance)

        portal_post_login.connect(welcome)
    """
    install(plugin(tmp_path, "logins", source))
    module = importlib.import_module("portal.plugins.logins")
    views = importlib.import_module("portal.authentication.views")
    signals.portal_post_login.send(sender=views.LoginView, instance="john")
    signals.portal_post_login.send(sender=views.LogoutView, instance="mary")
    assert capsys.readouterr().out == "welcome john\n"
    assert module


def test_a_call_whose_failure_is_a_value(client: Client) -> None:
    install()
    from portal.vidispine.igeneral import performVSAPICall  # type: ignore[import-not-found]

    helper = ItemHelper()
    found = performVSAPICall(func=helper.getItemMetadata, args={"item_id": "VX-1"}, vsapierror_templateorcode="x.html")
    assert found["success"] and found["response"]["item"][0]["id"] == "VX-1"
    missing = performVSAPICall(func=helper.getItem, args=("VX-9", {"content": ["metadata"]}))
    assert not missing["success"] and missing["exception"]["status"] == 404
    assert "status 404" in missing["exception"]["error"]


def test_what_is_not_there_says_so_as_python_does() -> None:
    install()
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'portal\.search'"):
        importlib.import_module("portal.search")
    with pytest.raises(ImportError, match="cannot import name 'INothing'"):
        from portal.generic.plugin_interfaces import INothing  # type: ignore[import-not-found] # noqa: F401


def test_installing_twice_changes_nothing_and_uninstalling_leaves_nothing(tmp_path: Path) -> None:
    install(tmp_path)
    first = sys.modules["portal"]
    install(tmp_path)
    assert sys.modules["portal"] is first
    assert list(sys.modules["portal.plugins"].__path__) == [str(tmp_path)]
    uninstall()
    assert not [name for name in sys.modules if name.partition(".")[0] == "portal"]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("portal")
    uninstall()


def test_the_real_portal_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "portal").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    install()  # a directory of this name is no Portal
    uninstall()
    (tmp_path / "portal" / "__init__.py").write_text("")
    importlib.invalidate_caches()
    with pytest.raises(PortalPresent, match=r"A package named portal is installed already, at .*__init__\.py"):
        install()
    imported = importlib.import_module("portal")
    with pytest.raises(PortalPresent):
        install()
    uninstall()
    assert sys.modules.pop("portal") is imported


def test_what_was_imported_as_portal_without_a_file_is_not_hidden_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "portal", ModuleType("portal"))
    with pytest.raises(PortalPresent, match="at unknown"):
        install()


def test_implements_belongs_into_a_class() -> None:
    install()
    from portal.pluginbase.core import implements  # type: ignore[import-not-found]

    with pytest.raises(TypeError, match="in the body of a plugin's class"):
        implements(object)

    def function(__module__: str, __qualname__: str) -> None:
        implements(object)

    with pytest.raises(TypeError, match="in the body of a plugin's class"):
        function("a", "b")


def test_what_a_class_implements_is_its_own_and_its_bases() -> None:
    class First(Interface): ...

    class Second(First): ...

    class Third(Interface): ...

    class Mixin:
        implements(Second)

    class Outer(Plugin):
        implements(Third)

        class Inner(Plugin):
            pass

        implements(Second)

    class Heir(Mixin, Plugin): ...

    plugins = Outer(), Outer.Inner(), Heir()
    made.clear()
    assert [[implemented(plugin, each) for each in (First, Second, Third)] for plugin in plugins] == [
        [True, True, True],
        [False, False, False],
        [True, True, False],
    ]


def test_nothing_of_it_is_there_before_it_is_installed() -> None:
    script = "import rxhub.compat.cantemo, sys; assert 'portal' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
