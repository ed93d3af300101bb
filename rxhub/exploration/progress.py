"""The progress of reading, on a terminal or in a notebook. Reading that takes less than a second shows none."""

from __future__ import annotations

import sys
from time import monotonic
from typing import Any

from rxhub.text.safe_repr import one_line

__all__ = ["ReadingProgress"]

_DELAY_S = 1.0
_INTERVAL_S = 0.25


class ReadingProgress:
    """Shows how much was read.

    Args:
        name: of what is read.
        size: in bytes; None if it is not known.
        is_shown: False to show nothing.
    """

    def __init__(self, name: str, size: int | None, is_shown: bool) -> None:
        self._name = one_line(name[-60:], 60)
        self._size = size
        self._due = monotonic() + _DELAY_S if is_shown else float("inf")
        self._view: _Terminal | _Notebook | None = None

    def update(self, count: int, position: int | None) -> None:
        """Show the number of events, and the position in bytes, unless that was done a moment ago."""
        now = monotonic()
        if now < self._due:
            return
        self._due = now + _INTERVAL_S
        if self._view is None:
            self._view = _view()
            if self._view is None:
                self._due = float("inf")
                return
        done = f", {100 * position // self._size} %" if position and self._size else ""
        self._view.show(f"reading {self._name}: {count:,} events{done}")

    def close(self, count: int) -> None:
        """Remove the progress from the terminal; leave the number of events in the notebook."""
        if self._view is not None:
            self._view.close(f"read {self._name}: {count:,} events")


class _Terminal:
    def show(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[2K{text}")
        sys.stderr.flush()

    def close(self, text: str) -> None:
        self.show("")


class _Notebook:
    def __init__(self, display: Any) -> None:
        self._display = display
        self._handle: Any = None

    def show(self, text: str) -> None:
        bundle = {"text/plain": text}
        if self._handle is None:
            self._handle = self._display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def close(self, text: str) -> None:
        self.show(text)


def _view() -> _Terminal | _Notebook | None:
    # Only IPython's kernel shows what `display` is given; a program outside of it has not imported the kernel.
    if "ipykernel" in sys.modules and "IPython" in sys.modules:
        ipython: Any = sys.modules["IPython"]
        shell = ipython.get_ipython()
        if hasattr(shell, "kernel"):
            from IPython.display import display  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

            return _Notebook(display)
    stderr: Any = sys.stderr  # None in a program without a console
    return _Terminal() if stderr is not None and stderr.isatty() else None
