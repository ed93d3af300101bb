"""The cells of the running notebook: which one runs, when it runs again, and when the kernel is interrupted."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from typing import Any, Protocol

from rxhub.text.extras import missing_dependency

__all__ = ["Cells", "present_cells", "running_cells"]

_INTERRUPTS = (KeyboardInterrupt, asyncio.CancelledError)
_AFTER_A_CELL = 0.1  # seconds; the kernel gives the signal back when it is done with the cell's message


class Stoppable(Protocol):
    """What lives below a cell."""

    @property
    def cell(self) -> str | None:
        """The id of the cell that made it."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


class Cells:
    """What lives below the cells of one shell, and ends with them."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._living: list[Stoppable] = []
        shell.events.register("pre_run_cell", self._before)
        shell.events.register("post_run_cell", self._behind)

    @property
    def present(self) -> str | None:
        """The id of the cell that runs, as the notebook tells it; None where it tells none."""
        try:
            found = self._shell.get_parent()["metadata"]["cellId"]
        except (AttributeError, KeyError, TypeError):
            return None
        return found if isinstance(found, str) else None

    def display(self, view: object) -> Any:
        """Show something below the present cell; the handle updates it."""
        from IPython.display import display  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

        return display(view, display_id=True)

    def add(self, one: Stoppable) -> None:
        """Have it stopped when its cell is run again, or at an interrupt."""
        self._living.append(one)

    def remove(self, one: Stoppable) -> None:
        """It has ended by itself."""
        self._living = [other for other in self._living if other is not one]

    def _before(self, info: Any = None) -> None:
        cell = getattr(info, "cell_id", None) or self.present
        for one in self._living:
            if cell is not None and one.cell == cell:
                one.stop()

    def _behind(self, result: Any = None) -> None:
        if isinstance(getattr(result, "error_in_exec", None), _INTERRUPTS):
            self._stop_all()
        elif self._living:
            try:
                asyncio.get_running_loop().call_later(_AFTER_A_CELL, self._take_interrupts)
            except RuntimeError:
                pass  # a shell without a loop is never idle with something living in it

    def _take_interrupts(self) -> None:
        """While no cell runs, the kernel ignores interrupts: let them end what lives."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._interrupted)

    def _interrupted(self, *_: object) -> None:
        # The signal may come in the midst of anything in this thread, locks held: only the loop may stop.
        try:
            asyncio.get_running_loop().call_soon_threadsafe(self._stop_all)
        except RuntimeError:
            self._stop_all()
        if signal.getsignal(signal.SIGINT) == self._interrupted:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _stop_all(self) -> None:
        for one in self._living:
            one.stop()


_by_shell: dict[int, Cells] = {}


def present_cells() -> Cells:
    """The cells of the shell that runs this.

    Raises:
        ModuleNotFoundError: if IPython is not installed.
        RuntimeError: if no shell runs.
    """
    try:
        from IPython.core.getipython import (  # pyright: ignore[reportMissingImports]
            get_ipython,  # pyright: ignore[reportUnknownVariableType]
        )
    except ModuleNotFoundError as error:
        raise missing_dependency(error, "A live table", "jupyter") from None
    shell: Any = get_ipython()
    if shell is None:
        raise RuntimeError("A live table needs a notebook to be shown in, but this runs outside of IPython.")
    if id(shell) not in _by_shell:
        _by_shell[id(shell)] = Cells(shell)  # a process has one shell, and keeps it
    return _by_shell[id(shell)]


def running_cells() -> Cells | None:
    """The cells of the shell that runs this; None outside of IPython."""
    if "IPython" not in sys.modules:
        return None  # nothing runs in it that has not been imported
    try:
        return present_cells()
    except (ModuleNotFoundError, RuntimeError):
        return None
