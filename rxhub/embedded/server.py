"""The server's process: started, waited for, started again if it dies, and ended with the one that needs it.

Theory of operation.

- One thread starts the process and waits for its end. It lives as long as the process does, and has to: the system
  ends a child at the death of its parent when the *thread* dies that started it.
- It has a session of its own: Ctrl-C at a terminal is for us, and we end the server when all has been sent to it.
- A server that dies is started again at the same port, where its clients look for it.
- After a failed write (a full disk) the server keeps running, but stores nothing more, not even when there is space
  again. A second thread asks for its health, reports the fault as `trouble`, and restarts it once a trial write
  succeeds: free bytes alone do not tell of used up inodes, a quota or a read-only file system. While the fault returns,
  the restarts become rarer, as each one cuts its clients. It is never started where nothing can be written: a server
  that cannot write while it recovers its streams may lose them.
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
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import Final

from rxhub.concurrency.backoff import Backoff
from rxhub.embedded.binary import find
from rxhub.embedded.child_process import command_bound_to_parent
from rxhub.embedded.config import LOG, MONITOR, configuration, make_private, write
from rxhub.embedded.lockfile import DirectoryLock
from rxhub.embedded.probe import Account, ask_for_streams, storage_error
from rxhub.errors import StoreError
from rxhub.text.printable import printable

__all__ = ["PrivateServer", "store"]

_USER: Final = "rxhub"
_OUTPUT: Final = "nats-server.out"
_TRIAL: Final = "trial-write.tmp"

# Seconds. A large store is looked through before its server listens.
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0
_POLL_INTERVAL_S = 0.02
_FIRST_RETRY_DELAY_S, _MAX_RETRY_DELAY_S = 0.5, 30.0
_CHECK_INTERVAL_S = 1.0

_MIN_FREE_BYTES: Final = 16 * 1024 * 1024
"""Free space without which a server is not started: its logs and the index of a stream have to fit."""

_TRIAL_BYTES: Final = 1024 * 1024

_USUAL: Final = ("[INF]", "Plaintext passwords")
_SHOWN_LINES = 12
_SHOWN_BYTES = 8_192

_logger = logging.getLogger("rxhub.embedded")


class PrivateServer:
    """A running NATS server with JetStream, for the user of this process alone.

    Attributes:
        directory: where its streams and its log are.
        url: where it listens, on loopback: `nats://127.0.0.1:…`.
        user: who may connect.
        password: with what; another one each time that the directory is opened.
        trouble: why it cannot store events at present, such as a full disk; empty if it can.
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
        self._thread = threading.Thread(target=self._live, name="rxhub-store", daemon=True)
        self._monitor = threading.Thread(target=self._check_health, name="rxhub-store-health", daemon=True)

    @property
    def pid(self) -> int | None:
        """Its process id; None while it is not running."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    def start(self) -> None:
        """Start it, and wait until it takes streams.

        Raises:
            StoreError: if it does not.
        """
        self._thread.start()
        self._started.result()
        self._monitor.start()

    def stop(self) -> None:
        """End it, and wait until it has; in a forked child, which has none, nothing happens."""
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

    def _live(self) -> None:
        try:
            self._begin()
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
                self._tell(f"The NATS server of {self.directory} has ended ({_ending(process)}). {self._last_words()}")
            pause = backoff.delay()
            while not self._stopping.wait(pause):
                if fault := _fault(self.directory):
                    pause = _CHECK_INTERVAL_S
                    self._report(f"its NATS server has ended, and {fault}")
                    continue
                try:
                    self._begin()
                except (StoreError, OSError) as error:
                    pause = backoff.delay()
                    _logger.error("%s It is tried again in %g s.", error, pause)
                else:
                    _logger.warning("The NATS server of %s is there again.", self.directory)
                    break

    def _check_health(self) -> None:
        """Report why the server cannot store, and restart it when something can be written again."""
        pause, restarted = _CHECK_INTERVAL_S, float("-inf")
        while not self._stopping.wait(_CHECK_INTERVAL_S):
            process, port = self._process, self._port
            if process is None or port is None or process.returncode is not None:
                continue
            try:
                found = storage_error(Account(port, MONITOR, self._monitor_password))
            except OSError:  # it starts, ends, or hangs: its clients notice that themselves
                continue
            if process is not self._process or self._stopping.is_set():
                continue
            if not found and not self.trouble:
                continue
            fault = _fault(self.directory)
            if found:
                self._report(f"{found}; {fault}" if fault else found)
            elif not fault:
                self.trouble = ""
            since = time.monotonic() - restarted
            if found and not fault and since >= pause:
                # It has stored for a while, or the same fault is back.
                pause = _CHECK_INTERVAL_S if since > 2 * _MAX_RETRY_DELAY_S else min(2 * pause, _MAX_RETRY_DELAY_S)
                restarted = time.monotonic()
                _logger.warning("The NATS server of %s is restarted, since it can write again.", self.directory)
                self._end(process)

    def _report(self, found: str) -> None:
        if not self.trouble:
            free = shutil.disk_usage(self.directory).free / 1_048_576
            self.trouble = f"The store {self.directory} cannot store events ({free:.1f} MiB are free): {found}."
            _logger.error("%s Free up space, or whatever else is used up; it is restarted then.", self.trouble)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while process.returncode is None and time.monotonic() < deadline:
            time.sleep(_POLL_INTERVAL_S)
        process.kill()

    def _begin(self) -> None:
        """Start the process and wait until it takes streams; where that fails, there is none afterwards."""
        if fault := _fault(self.directory):
            raise StoreError(
                f"The NATS server of {self.directory} is not started, since {fault}. Free up space, or whatever else "
                "is used up, or choose another directory."
            )
        for stale in self.directory.glob("*.ports"):
            stale.unlink(missing_ok=True)
        settings = write(
            self.directory,
            configuration(self.directory, self.user, self.password, self._monitor_password, self._port),
        )
        # A link in its place could lead to any file of this user.
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
            self._lock.tell(process.pid)
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
                    f"The NATS server of {self.directory} ended at its start ({_ending(process)}). {self._last_words()}"
                )
            if self._stopping.is_set():
                raise StoreError(f"The NATS server of {self.directory} was stopped while it started.")
            if (port := self._told_port(process.pid)) is not None:
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
                    f"{self._last_words()}"
                )
            time.sleep(_POLL_INTERVAL_S)

    def _told_port(self, pid: int) -> int | None:
        """Where the server says that it listens."""
        for path in self.directory.glob(f"*_{pid}.ports"):
            with suppress(OSError, ValueError, LookupError):  # it is just being written
                return int(json.loads(path.read_bytes())["nats"][0].rpartition(":")[2])
        return None

    def _last_words(self) -> str:
        """What it complained of: the end of its log, and what it wrote beside it, such as a panic."""
        process = self._process
        mark = f"[{process.pid if process else ''}]"
        logged = [
            line
            for line in _tail(self.directory / LOG)
            if line.startswith(mark) and not any(usual in line for usual in _USUAL)
        ]
        said = [*logged[-_SHOWN_LINES:], *_tail(self.directory / _OUTPUT)[-_SHOWN_LINES:]]
        if not said:
            return f"It complained of nothing; its log is {self.directory / LOG}."
        return "".join([f"It said, in {self.directory / LOG}:", *(f"\n  {line}" for line in said)])

    def _tell(self, message: str) -> None:
        _logger.error("%s", message)
        if self._on_exit is not None:
            try:
                self._on_exit(message)
            except Exception:
                _logger.exception("What was to be told of the end of the NATS server failed.")


@contextmanager
def store(directory: Path | str, on_exit: Callable[[str], object] | None = None) -> Generator[PrivateServer]:
    """Run the NATS server of a directory, as long as the `with` block lasts.

    What was stored there is there again the next time. Acknowledged means that it is on the disk. The server ends with
    this process, however that ends.

    Args:
        directory: where its streams and its log are; made if it is not there.
        on_exit: called, in a thread of its own, with what is known when the server has died. It is logged on
            `rxhub.embedded` in any case, and the server started again, at the same port.

    Yields:
        The server, which is ready: `EventHub(server.url, server.user, server.password)`.

    Raises:
        StoreError: if the program is missing or too old, the directory cannot be used, is in use or has less than
            16 MiB of free space, or the server does not start.
    """
    path = Path(directory).absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_room(path)
        _warn_if_shared(path)
        lock = DirectoryLock(path)
    except OSError as error:
        raise StoreError(
            f"The store {path} cannot be used: {error}. Choose a directory that can be written to."
        ) from error
    server = PrivateServer(path, lock, on_exit)
    # Where the system does not end it with this process, and nobody leaves the block.
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


def _warn_if_shared(directory: Path) -> None:
    """Warn of a directory in which other users can replace files: the server's configuration, password and events.

    No error: in a container, volumes are often like this, and there are no other users.
    """
    if os.name != "posix":
        return
    found = directory.stat()
    if found.st_uid not in {0, os.geteuid()}:
        _logger.warning(
            "The store %s belongs to another user (%d), who can read and change the events in it. Make it yours "
            "(`chown`), or choose another directory.",
            directory,
            found.st_uid,
        )
    elif found.st_mode & 0o022:
        _logger.warning(
            "Other users can replace the files in the store %s (mode %04o), and so read and change events. Make it "
            "private: `chmod 700 %s`.",
            directory,
            found.st_mode & 0o7777,
            quote(str(directory)),
        )


def _check_room(directory: Path) -> None:
    if (free := shutil.disk_usage(directory).free) < _MIN_FREE_BYTES:
        raise StoreError(
            f"The NATS server of {directory} is not started, since only {free / 1_048_576:.1f} MiB are free there, and "
            f"it needs {_MIN_FREE_BYTES // 1_048_576} MiB. Free up space, or choose another directory."
        )


def _fault(directory: Path) -> str:
    """Why a server could not store in a directory, as a trial write shows; empty if it could."""
    try:
        if (free := shutil.disk_usage(directory).free) < _MIN_FREE_BYTES:
            return f"only {free / 1_048_576:.1f} MiB are free"
        path = directory / _TRIAL
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with open(os.open(path, flags, 0o600), "wb") as file:  # noqa: PTH123
                file.write(bytes(_TRIAL_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            path.unlink(missing_ok=True)
    except OSError as error:
        return f"a trial write failed ({error})"
    return ""


def _ending(process: subprocess.Popen[bytes]) -> str:
    status = process.returncode
    return f"by signal {-status}" if status < 0 else f"with status {status}"


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _SHOWN_BYTES))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
