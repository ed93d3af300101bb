"""A real kernel, to which a test speaks as a notebook does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.manager import KernelManager

__all__ = ["Kernel", "running_kernel"]

ROOT = Path(__file__).parents[2]
Message = dict[str, Any]


class Kernel:
    """Runs cells, and keeps what they show."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager = manager
        self.client = client
        self.shown: dict[str, str] = {}  # the text of each display, by its id
        self.printed: list[str] = []
        self.printed_by: dict[str, str] = {}  # what is printed below each cell, by its request

    def begin(self, code: str, cell: str = "cell") -> str:
        """Send a cell to be run."""
        message = self.client.session.msg(
            "execute_request",
            {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False},
            metadata={"cellId": cell},
        )
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def run(self, code: str, cell: str = "cell") -> str:
        """Run a cell to its end; gives the text of its result, or the name of its error."""
        return self.end(self.begin(code, cell))

    def end(self, request: str) -> str:
        """Wait for the end of a cell."""
        result = ""
        while True:
            message = self._next(30)
            content, kind = message["content"], message["header"]["msg_type"]
            if message["parent_header"].get("msg_id") != request:
                continue
            if kind == "execute_result":
                result = content["data"]["text/plain"]
            elif kind == "error":
                result = content["ename"]
            elif kind == "status" and content["execution_state"] == "idle":
                return result

    def until(self, ready: Callable[[], bool]) -> None:
        """Wait until what is shown is so."""
        while not ready():
            self._next(20)

    def _next(self, timeout: float) -> Message:
        try:
            message = self.client.get_iopub_msg(timeout=timeout)
        except Empty:
            raise AssertionError(
                f"The kernel said nothing; it had shown {self.shown}, printed {self.printed}"
            ) from None
        content, kind = message["content"], message["header"]["msg_type"]
        if kind in ("display_data", "update_display_data"):
            self.shown[content["transient"]["display_id"]] = content["data"]["text/plain"]
        elif kind == "stream":
            self.printed.append(content["text"])
            cell = message["parent_header"].get("msg_id", "")
            self.printed_by[cell] = self.printed_by.get(cell, "") + content["text"]
        return message


@contextmanager
def running_kernel(directory: Path) -> Iterator[Kernel]:
    """Start one, and end it."""
    places = {name: str(directory / name) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR")}
    manager = KernelManager(kernel_name="python3", connection_file=str(directory / "kernel.json"))
    manager.start_kernel(env={**os.environ, **places, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"})
    try:
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
            yield Kernel(manager, client)
        finally:
            client.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)
