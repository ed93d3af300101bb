"""Runs the process of a private server: starts, monitors, restarts and stops it.

Theory of operation.

- One thread starts the process and waits for its end. It must live as long: the system stops a child when the *thread*
  ends that started it.
- The process has its own session, so that Ctrl-C at a terminal does not stop it before unsent events are stored.
- A server that dies is restarted on the same port.
- After a failed write (a full disk) the server runs on, but stores nothing until it is restarted. A second thread polls
  its health, reports the fault as `trouble`, and restarts it when a trial write succeeds: free bytes alone do not show
  exhausted inodes, a quota or a read-only file system. If the fault returns, restarts become rarer, since each
  disconnects the clients. Without a successful trial write the server is never started: it may lose streams that it
  recovers.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from rxhub.concurrency.backoff import Backoff
from rxhub.embedded.binary import find
from rxhub.embedded.config import LOG, MONITOR, configuration, make_private, write
from rxhub.embedded.disk import check_room, warn_if_shared, write_fault
from rxhub.embedded.lockfile import DirectoryLock
from rxhub.embedded.probe import Account, ask_for_streams, storage_error
from rxhub.errors import StoreError
from rxhub.text.printable import printable

__all__ = ["PrivateServer", "command_bound_to_parent", "store"]

_USER: Final = "rxhub"
_OUTPUT: Final = "nats-server.out"

# The server reads a large store before it listens.
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0
_POLL_INTERVAL_S = 0.02
_FIRST_RETRY_DELAY_S, _MAX_RETRY_DELAY_S = 0.5, 30.0
_CHECK_INTERVAL_S = 1.0

_NOT_COMPLAINTS: Final = ("[INF]", "Plaintext passwords")
_MAX_LINES = 12
_MAX_TAIL_BYTES = 8_192

# The child requests a signal at the end of the thread that starts it, before it executes the program. A `preexec_fn`
# could deadlock in a program with threads.
_BINDING: Final = """\
import ctypes, os, sys
try:
    ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM
except (AttributeError, OSError):
    pass
if os.getppid() == int(sys.argv[1]):  # else the parent has ended already
    os.execv(sys.argv[2], sys.argv[2:])
"""

_logger = logging.getLogger("rxhub.embedded")


class PrivateServer:
    """A running NATS server with JetStream, for the user of this process only.

    Attributes:
        directory: of its streams and its log.
        url: `nats://127.0.0.1:…`.
        user: the user who may connect.
        password: of the user; a new one each time.
        trouble: why it cannot store events, such as a full disk; empty if it can.
    """

    def __init__(self, directory: Path, lock: DirectoryLock, on_exit: Callable[[str], object] | None = None) -> None:
        self.directory = directory
        self.url = ""
        self.user = _USER
        self.password = secrets.token_urlsafe(24)
        self.trouble = ""
        self._monitor_password = secrets.token_urlsafe(24)
        self._lock = lock
        self._on_exit = on_exit
        self._parent = os.getpid()
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="rxhub-store", daemon=True)
        self._monitor = threading.Thread(target=self._check_health, name="rxhub-store-health", daemon=True)

    @property
    def pid(self) -> int | None:
        """Its process id; None while it is not running."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    def start(self) -> None:
        """Start the server, and wait until it accepts streams. Raises StoreError if that fails."""
        self._thread.start()
        self._started.result()
        self._monitor.start()

    def stop(self) -> None:
        """Stop the server and wait for its end. Does nothing in a forked child."""
        if self._parent != os.getpid() or self._stopping.is_set():
            return
        self._stopping.set()
        self._signal(signal.SIGTERM)
        self._thread.join(_STOP_TIMEOUT_S)
        if self._thread.is_alive():
            _logger.warning(
                "The NATS server of %s did not end within %g s, and is killed.", self.directory, _STOP_TIMEOUT_S
            )
            self._signal(signal.SIGKILL)
            self._thread.join(_STOP_TIMEOUT_S)
        self._lock.release()

    def __repr__(self) -> str:
        return printable(f"<{type(self).__name__} {self.url or 'starting'} in {self.directory}>")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _run(self) -> None:
        try:
            self._start_process()
        except BaseException as error:
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        backoff = Backoff(_FIRST_RETRY_DELAY_S, _MAX_RETRY_DELAY_S)
        while (process := self._process) is not None:
            began = time.monotonic()
            process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - began > _MAX_RETRY_DELAY_S:
                backoff.reset()
            if not self.trouble:
                self._report_exit(
                    f"The NATS server of {self.directory} died ({_ending(process)}). {self._complaints()}"
                )
            pause = backoff.delay()
            while not self._stopping.wait(pause):
                if fault := write_fault(self.directory):
                    pause = _CHECK_INTERVAL_S
                    self._report_trouble(f"its NATS server has ended, and {fault}")
                    continue
                try:
                    self._start_process()
                except (StoreError, OSError) as error:
                    pause = backoff.delay()
                    _logger.error("%s Retrying in %g s.", error, pause)
                else:
                    _logger.warning("Restarted the NATS server of %s.", self.directory)
                    break

    def _check_health(self) -> None:
        """Report why the server cannot store, and restart it when a trial write succeeds."""
        pause, restarted = _CHECK_INTERVAL_S, float("-inf")
        while not self._stopping.wait(_CHECK_INTERVAL_S):
            process, port = self._process, self._port
            if process is None or port is None or process.returncode is not None:
                continue
            try:
                found = storage_error(Account(port, MONITOR, self._monitor_password))
            except OSError:  # it starts, stops, or hangs, which its clients notice
                continue
            if process is not self._process or self._stopping.is_set():
                continue
            if not found and not self.trouble:
                continue
            fault = write_fault(self.directory)
            if found:
                self._report_trouble(f"{found}; {fault}" if fault else found)
            elif not fault:
                self.trouble = ""
            since = time.monotonic() - restarted
            if found and not fault and since >= pause:
                # Longer if the same fault is back.
                pause = _CHECK_INTERVAL_S if since > 2 * _MAX_RETRY_DELAY_S else min(2 * pause, _MAX_RETRY_DELAY_S)
                restarted = time.monotonic()
                _logger.warning("Restarting the NATS server of %s: it can write again.", self.directory)
                self._stop_process(process)

    def _report_trouble(self, found: str) -> None:
        if not self.trouble:
            free = shutil.disk_usage(self.directory).free / 1_048_576
            self.trouble = f"The store {self.directory} cannot store events ({free:.1f} MiB are free): {found}."
            _logger.error("%s Free up space, or another exhausted resource. The server then restarts.", self.trouble)

    def _stop_process(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while process.returncode is None and time.monotonic() < deadline:
            time.sleep(_POLL_INTERVAL_S)
        process.kill()

    def _start_process(self) -> None:
        """Start the process and wait until it accepts streams; stop it if that fails."""
        if fault := write_fault(self.directory):
            raise StoreError(
                f"The NATS server of {self.directory} was not started: {fault}. Free up space, or another exhausted "
                "resource, or choose another directory."
            )
        for stale in self.directory.glob("*.ports"):
            stale.unlink(missing_ok=True)
        settings = write(
            self.directory, configuration(self.directory, self.user, self.password, self._monitor_password, self._port)
        )
        # A link could point to any file of this user.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(self.directory / _OUTPUT, flags, 0o600), "wb") as output:  # noqa: PTH123
            make_private(output.fileno(), self.directory / LOG)
            process = subprocess.Popen(
                command_bound_to_parent([str(find()), "-c", str(settings)]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                pass_fds=(self._lock.descriptor,),
                start_new_session=True,
            )
        self._process = process
        try:
            self._lock.write_holder(process.pid)
            self._wait_until_ready(process)
        except BaseException:
            process.kill()
            process.wait()
            raise

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        found = "It does not listen."
        while True:
            if process.poll() is not None:
                raise StoreError(
                    f"The NATS server of {self.directory} ended at its start ({_ending(process)}). {self._complaints()}"
                )
            if self._stopping.is_set():
                raise StoreError(f"The NATS server of {self.directory} was stopped while starting.")
            if (port := self._read_port(process.pid)) is not None:
                try:
                    ask_for_streams(Account(port, self.user, self.password))
                except OSError as error:
                    found = f"{error}."
                else:
                    self._port = port
                    self.url = f"nats://127.0.0.1:{port}"
                    return
            if time.monotonic() > deadline:
                raise StoreError(
                    f"The NATS server of {self.directory} is not ready after {_START_TIMEOUT_S:g} s. {found} "
                    f"{self._complaints()}"
                )
            time.sleep(_POLL_INTERVAL_S)

    def _read_port(self, pid: int) -> int | None:
        for path in self.directory.glob(f"*_{pid}.ports"):
            with suppress(OSError, ValueError, LookupError):  # being written
                return int(json.loads(path.read_bytes())["nats"][0].rpartition(":")[2])
        return None

    def _complaints(self) -> str:
        """Its last complaints: the end of its log and of its output, such as a panic."""
        process = self._process
        mark = f"[{process.pid if process else ''}]"
        logged = [
            line
            for line in _tail(self.directory / LOG)
            if line.startswith(mark) and not any(usual in line for usual in _NOT_COMPLAINTS)
        ]
        lines = [*logged[-_MAX_LINES:], *_tail(self.directory / _OUTPUT)[-_MAX_LINES:]]
        if not lines:
            return f"It logged no error in {self.directory / LOG}."
        return "".join([f"It logged in {self.directory / LOG}:", *(f"\n  {line}" for line in lines)])

    def _report_exit(self, message: str) -> None:
        _logger.error("%s", message)
        if self._on_exit is not None:
            try:
                self._on_exit(message)
            except Exception:
                _logger.exception("The on_exit callback of the NATS server failed.")


@contextmanager
def store(directory: Path | str, on_exit: Callable[[str], object] | None = None) -> Generator[PrivateServer]:
    """Run the NATS server of a directory during a `with` block.

    Streams are kept in the directory. Acknowledged events are on the disk. The server ends with this process, however
    that ends.

    Args:
        directory: of its streams and its log; created if necessary.
        on_exit: called with a description, in a thread, when the server has died. It is also logged on
            `rxhub.embedded`, and the server restarts on the same port.

    Yields:
        The server, ready for `EventHub(server.url, server.user, server.password)`.

    Raises:
        StoreError: if the program is missing or too old, the directory cannot be used, is in use or has less than 16
            MiB of free space, or the server does not start.
    """
    path = Path(directory).absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_room(path)
        warn_if_shared(path)
        lock = DirectoryLock(path)
    except OSError as error:
        raise StoreError(f"The store {path} cannot be used: {error}. Choose a writable directory.") from error
    server = PrivateServer(path, lock, on_exit)
    # For systems that do not stop it with this process.
    atexit.register(server.stop)
    try:
        try:
            server.start()
        except OSError as error:
            raise StoreError(f"The NATS server of {path} cannot be started: {error}.") from error
        yield server
    finally:
        server.stop()
        atexit.unregister(server.stop)


def _ending(process: subprocess.Popen[bytes]) -> str:
    status = process.returncode
    return f"by signal {-status}" if status < 0 else f"with status {status}"


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _MAX_TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def command_bound_to_parent(command: Sequence[str]) -> list[str]:
    """A command whose process gets SIGTERM when the *thread* that starts it ends; unchanged if impossible."""
    # In a host application, `sys.executable` is the host.
    if sys.platform != "linux" or "python" not in Path(sys.executable).name:
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _BINDING, str(os.getpid()), *command]
