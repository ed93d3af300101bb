"""Plugins: installed packages that connect themselves to the hub of a program.

- `Plugin`: what a plugin may have; `bootstrap(hub)` is all that it must.
- `installed()`: the plugins that the installed distributions name in the entry-point group `rxhub.plugins`.
- `Plugins`: the plugins of one hub, behind `hub.bootstrap()` and `hub.teardown()`.
- `PluginReport`: which of them run, in which order, and why the others do not.
"""

from rxhub.plugins.candidate import GROUP, Candidate, given, installed
from rxhub.plugins.plugin import Plugin
from rxhub.plugins.report import PluginReport, PluginState, Status
from rxhub.plugins.running import Plugins

__all__ = ["GROUP", "Candidate", "Plugin", "PluginReport", "PluginState", "Plugins", "Status", "given", "installed"]
