"""The cells of the notebook: which one is running, when it is run again, and when the kernel is interrupted."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from typing import Any

from rxhub.text.extras import missing_dependency

__all__ = ["Cells", "current_cells", "running_cells"]

_INTERRUPTS = (KeyboardInterrupt, asyncio.CancelledError)
_HANDLER_DELAY_S = 0.1  # the kernel restores its signal handler when it has processed the message of the cell


class Cells:
    """The live views of one shell. They stop when their cell is run again, and at an interrupt."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._views: list[Any] = []  # `LiveView`s, which import this module
        shell.events.register("pre_run_cell", self._before_cell)
        shell.events.register("post_run_cell", self._after_cell)

    @property
    def current(self) -> str | None:
        """The id of the running cell; None if the notebook does not send one."""
        try:
            found = self._shell.get_parent()["metadata"]["cellId"]
        except (AttributeError, KeyError, TypeError):
            return None
        return found if isinstance(found, str) else None

    def display(self, view: object) -> Any:
        """Show an object below the running cell; the returned handle updates it."""
        from IPython.display import display  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

        return display(view, display_id=True)

    def add(self, view: Any) -> None:
        self._views.append(view)

    def remove(self, view: Any) -> None:
        self._views = [other for other in self._views if other is not view]

    def _before_cell(self, info: Any = None) -> None:
        cell = getattr(info, "cell_id", None) or self.current
        for view in self._views:
            if cell is not None and view.cell == cell:
                view.stop()

    def _after_cell(self, result: Any = None) -> None:
        if isinstance(getattr(result, "error_in_exec", None), _INTERRUPTS):
            self._stop_all()
        elif self._views:
            try:
                asyncio.get_running_loop().call_later(_HANDLER_DELAY_S, self._handle_interrupts)
            except RuntimeError:
                pass  # a shell without a loop has no live views while it is idle

    def _handle_interrupts(self) -> None:
        """Let interrupts stop the live views: the kernel ignores them while no cell is running."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._interrupted)

    def _interrupted(self, *_: object) -> None:
        # This thread may hold locks, so the views are stopped by the loop.
        try:
            asyncio.get_running_loop().call_soon_threadsafe(self._stop_all)
        except RuntimeError:
            self._stop_all()
        if signal.getsignal(signal.SIGINT) == self._interrupted:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _stop_all(self) -> None:
        for view in self._views:
            view.stop()


_by_shell: dict[int, Cells] = {}


def current_cells() -> Cells:
    """The cells of the running shell; raises ModuleNotFoundError without IPython, RuntimeError without a shell."""
    try:
        from IPython.core.getipython import (  # pyright: ignore[reportMissingImports]
            get_ipython,  # pyright: ignore[reportUnknownVariableType]
        )
    except ModuleNotFoundError as error:
        raise missing_dependency(error, "A live table", "jupyter") from None
    shell: Any = get_ipython()
    if shell is None:
        raise RuntimeError("A live table needs a notebook, but IPython is not running.")
    if id(shell) not in _by_shell:
        _by_shell[id(shell)] = Cells(shell)  # a process has one shell
    return _by_shell[id(shell)]


def running_cells() -> Cells | None:
    """The cells of the running shell; None outside of IPython."""
    if "IPython" not in sys.modules:
        return None
    try:
        return current_cells()
    except (ModuleNotFoundError, RuntimeError):
        return None
