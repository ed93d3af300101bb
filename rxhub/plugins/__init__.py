"""Plugins: installed packages that connect themselves to the hub of a program."""

from rxhub.plugins.candidate import GROUP, Candidate, given, installed
from rxhub.plugins.plugin import Plugin
from rxhub.plugins.report import PluginReport, PluginState, Status
from rxhub.plugins.running import Plugins

__all__ = ["GROUP", "Candidate", "Plugin", "PluginReport", "PluginState", "Plugins", "Status", "given", "installed"]
