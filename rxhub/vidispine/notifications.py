"""An ASGI endpoint that receives notifications of Vidispine and sends them as signals.

- Vidispine sends POST or PUT to `/<resource>`, with the secret as the password (see `register_notification`).
- A valid notification is put into a bounded queue and answered with 200 at once. One thread with its own event loop
  sends the signals in the order of arrival; coroutine receivers are awaited.
- If the queue is full, the response is 503, and Vidispine retries as registered.
- Errors of receivers are logged and reported by the signal, not to Vidispine, whose retry would run the other
  receivers again.
- A notification that was answered with 200 is lost only if the process dies; `close` waits for the queue.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from hmac import compare_digest
from threading import Lock, Thread
from typing import NamedTuple

from rxhub.text.extras import missing_dependency
from rxhub.vidispine.errors import NotificationError
from rxhub.vidispine.registration import RESOURCES
from rxhub.vidispine.signals import vidispine_auto_import_ntfcn, vidispine_notification

try:
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send

    from rxhub.vidispine.fields import Fields, parse_json, parse_xml
except ModuleNotFoundError as error:
    raise missing_dependency(error, "rxhub.vidispine.notifications", "vidispine") from None

__all__ = ["Notification", "Notifications"]

logger = logging.getLogger(__name__)

READ_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 10.0

_ASSETS = frozenset({"collection", "document", "file", "item"})
_SIGNALS = (vidispine_notification,), (vidispine_notification, vidispine_auto_import_ntfcn)  # of others; of assets
_PARSERS: Mapping[str, Callable[[bytes], Fields]] = {
    "application/json": parse_json,
    "application/xml": parse_xml,
    "text/xml": parse_xml,
}


class Notification(NamedTuple):
    """One notification, and what its signals carry: `sender=resource, instance=, method=, notification=fields`."""

    resource: str
    fields: Fields

    @property
    def instance(self) -> str | None:
        """The id of the object; None if the notification has none."""
        first, *rest = self.resource.split("-")
        return self.fields.get(f"{first}{''.join(map(str.capitalize, rest))}Id")

    @property
    def method(self) -> str:
        """The operation, as Vidispine calls it: CREATE, DELETE, MODIFY or STOP; empty if unknown."""
        for key in ("action", "notificationTrigger"):
            if found := self.fields.get(key):
                return found
        # Vidispine's reference gives the modification of metadata no action, and nothing else a change set.
        return "MODIFY" if "changeSetId" in self.fields else ""


class Notifications:
    """The endpoint, an ASGI application: serve it, or mount it in another application.

    Args:
        secret: the secret of `register_notification`.
        capacity: the size of the queue; if it is full, Vidispine must retry.
        max_body: the maximum size of a body in bytes.

    Raises:
        ValueError: if the secret is empty.
    """

    def __init__(self, secret: str, *, capacity: int = 1000, max_body: int = 1024 * 1024) -> None:
        if not secret:
            raise ValueError("The endpoint needs a secret. Without one it would accept notifications from anyone.")
        self._secret = secret.encode()
        self._capacity = capacity
        self._max_body = max_body
        self._lock = Lock()
        self._waiting = 0
        self._closed = False
        # The thread that calls receivers, with its own event loop.
        self._worker: Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._queue: asyncio.Queue[Notification | None] = asyncio.Queue()
        route = Route("/{resource}", self._receive, methods=["POST", "PUT"])
        self._application = Starlette(routes=[route], lifespan=self._lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)

    @property
    def waiting(self) -> int:
        """The number of notifications in the queue, including the current one."""
        return self._waiting

    def close(self, timeout: float = CLOSE_TIMEOUT_S) -> None:
        """Reject new notifications and wait until the queue is empty. The lifespan of the application calls it.

        Args:
            timeout: seconds to wait. A receiver that takes longer keeps running; the queued notifications are lost.
        """
        with self._lock:
            self._closed = True
            worker, self._worker = self._worker, None
        if worker is None:
            return
        self._put(None)
        worker.join(timeout)
        if worker.is_alive():
            logger.warning(
                "A receiver is still running %g s after the endpoint was closed; %d notifications are lost.",
                timeout,
                self._waiting,
            )

    @asynccontextmanager
    async def _lifespan(self, _application: Starlette) -> AsyncGenerator[None]:
        yield
        await asyncio.to_thread(self.close)

    async def _receive(self, request: Request) -> Response:
        if not self._knows_secret(request.headers.get("authorization", "")):
            return PlainTextResponse(
                "The secret is missing or wrong. Register the notification with the secret of the endpoint.",
                401,
                {"WWW-Authenticate": 'Basic realm="vidispine"'},
            )
        resource: str = request.path_params["resource"]
        if resource not in RESOURCES:
            return PlainTextResponse(f"Unknown resource; expected one of {', '.join(RESOURCES)}.", 404)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        parse = _PARSERS.get(kind)
        if parse is None:
            return PlainTextResponse(f"The content type must be {' or '.join(_PARSERS)}.", 415)
        body = bytearray()
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._max_body:
                        return PlainTextResponse(f"A notification must not exceed {self._max_body} bytes.", 413)
        except TimeoutError:
            return PlainTextResponse(f"The notification was incomplete after {READ_TIMEOUT_S:g} s.", 408)
        except ClientDisconnect:
            return Response(status_code=400)
        try:
            fields = parse(bytes(body))
        except NotificationError as error:
            logger.warning("Rejected a notification on %s: %s", resource, error)
            return PlainTextResponse(str(error), 400)
        if not self._enqueue(Notification(resource, fields)):
            return PlainTextResponse(
                f"{self._capacity} notifications are waiting for receivers. Try again later.",
                503,
                {"Retry-After": "10"},
            )
        return Response(status_code=200)

    def _knows_secret(self, authorization: str) -> bool:
        scheme, _, credentials = authorization.partition(" ")
        given = credentials.strip().encode("latin-1")  # Starlette decodes headers as Latin-1
        if scheme.lower() == "basic":
            try:
                given = b64decode(given, validate=True).partition(b":")[2]
            except ValueError:
                return False
        return scheme.lower() in ("basic", "bearer") and compare_digest(given, self._secret)

    def _enqueue(self, notification: Notification) -> bool:
        with self._lock:
            if self._closed or self._waiting >= self._capacity:
                return False
            if self._worker is None:
                # A daemon: a receiver that never returns must not keep the interpreter from exiting.
                worker = Thread(target=self._run, name="rxhub-vidispine", daemon=True)
                self._loop = asyncio.new_event_loop()
                try:
                    worker.start()
                except RuntimeError:  # too many threads; the next notification tries again
                    self._loop.close()
                    raise
                self._worker = worker
            # Under the lock, so that nothing is queued after the end that `close` queues.
            self._waiting += 1
            self._put(notification)
        return True

    def _put(self, notification: Notification | None) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, notification)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        while (notification := await self._queue.get()) is not None:
            try:
                for signal in _SIGNALS[notification.resource in _ASSETS]:
                    await signal.asend_robust(
                        sender=notification.resource,
                        instance=notification.instance,
                        method=notification.method,
                        notification=notification.fields,
                    )
            except BaseException:  # noqa: BLE001 -- SystemExit of a receiver must not end the thread
                logger.exception("Sending the signals of a notification on %s failed.", notification.resource)
            finally:
                with self._lock:
                    self._waiting -= 1
