"""An ASGI endpoint for Vidispine's notifications, which become signals.

Theory of operation:

- Vidispine sends POST or PUT to `/<resource>`, with the secret as the password of HTTP authentication
  (`register_notification` has it do so). The secret is compared before anything of the body is read.
- What can be read is put into a bounded queue and answered with 200 at once. One thread with a loop of its own takes
  it out again and sends the signals, in the order of arrival: a plain receiver blocks nobody but the receivers behind
  it, a coroutine is awaited. The server's loop never runs a receiver.
- A full queue answers 503 and takes nothing: Vidispine tries again, as often as the registration says. So a receiver
  that is too slow for ever costs late notifications and in the end Vidispine's patience, not memory.
- What a receiver raises is logged and reported by the signal. Vidispine is not told: its retry would run the
  receivers that did succeed once more.
- A notification that was answered with 200 is lost only with the process; closing waits for what is in the queue.
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

PATIENCE = 10.0

_ASSETS = frozenset({"collection", "document", "file", "item"})
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
        """The id of what it is about; None if it names none."""
        first, *rest = self.resource.split("-")
        return self.fields.get(f"{first}{''.join(map(str.capitalize, rest))}Id")

    @property
    def method(self) -> str:
        """What happened, as Vidispine calls it: CREATE, DELETE, MODIFY, STOP; empty if it does not say."""
        for key in ("action", "notificationTrigger"):
            if found := self.fields.get(key):
                return found
        # Vidispine's reference gives the modification of metadata no action, and nothing else a change set.
        return "MODIFY" if "changeSetId" in self.fields else ""


class Notifications:
    """The endpoint, an ASGI application: serve it as it is, or mount it in another one.

    Args:
        secret: what Vidispine must know, as it was given to `register_notification`.
        capacity: how many notifications may wait for receivers; beyond that Vidispine is asked to come again.
        max_body: bytes of the longest body that is read.

    Raises:
        ValueError: if the secret is empty.
    """

    def __init__(self, secret: str, *, capacity: int = 1000, max_body: int = 1024 * 1024) -> None:
        if not secret:
            raise ValueError("An endpoint without a secret would take notifications from everybody; give it one.")
        self._secret = secret.encode()
        self._capacity = capacity
        self._max_body = max_body
        self._lock = Lock()
        self._waiting = 0
        self._closed = False
        self._worker: _Worker | None = None
        route = Route("/{resource}", self._receive, methods=["POST", "PUT"])
        self._application = Starlette(routes=[route], lifespan=self._lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)

    @property
    def waiting(self) -> int:
        """How many notifications receivers have not seen yet, the one under way included."""
        return self._waiting

    def close(self, timeout: float = PATIENCE) -> None:
        """Take nothing new, and wait until receivers have seen what is there. Serving the endpoint calls it at the end.

        Args:
            timeout: seconds to wait. A receiver that runs longer keeps running, and what waits behind it is lost.
        """
        with self._lock:
            self._closed = True
            worker, self._worker = self._worker, None
        if worker is None:
            return
        if not worker.end(timeout):
            logger.warning(
                "A receiver still runs %g s after the endpoint was closed; %d notifications are lost with it.",
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
                "The secret is missing or wrong. Register the notification with the endpoint's secret.",
                401,
                {"WWW-Authenticate": 'Basic realm="vidispine"'},
            )
        resource: str = request.path_params["resource"]
        if resource not in RESOURCES:
            return PlainTextResponse(f"There is no such resource; expected one of {', '.join(RESOURCES)}.", 404)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        parse = _PARSERS.get(kind)
        if parse is None:
            return PlainTextResponse(f"A notification is {' or '.join(_PARSERS)}.", 415)
        try:
            async with asyncio.timeout(PATIENCE):
                body = await self._body(request)
        except TimeoutError:
            return PlainTextResponse(f"The notification was still coming after {PATIENCE:g} s.", 408)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return PlainTextResponse(f"A notification has at most {self._max_body} bytes.", 413)
        try:
            fields = parse(body)
        except NotificationError as error:
            logger.warning("A notification on %s was refused: %s", resource, error)
            return PlainTextResponse(str(error), 400)
        if not self._take(Notification(resource, fields)):
            return PlainTextResponse(
                f"{self._capacity} notifications wait for receivers already. Try again later.",
                503,
                {"Retry-After": "10"},
            )
        return Response(status_code=200)

    def _knows_secret(self, authorization: str) -> bool:
        scheme, _, credentials = authorization.partition(" ")
        given = b""
        if scheme.lower() == "bearer":
            given = credentials.strip().encode("latin-1")  # which is how a header's bytes came to be text
        elif scheme.lower() == "basic":
            try:
                given = b64decode(credentials.strip(), validate=True).partition(b":")[2]
            except ValueError:
                given = b""
        return compare_digest(given, self._secret)

    async def _body(self, request: Request) -> bytes | None:
        """The body; None if it is too long, of which no more is read than tells."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._max_body:
                return None
        return bytes(body)

    def _take(self, notification: Notification) -> bool:
        with self._lock:
            if self._closed or self._waiting >= self._capacity:
                return False
            self._waiting += 1
            if self._worker is None:
                self._worker = _Worker(self._done)
            # Under the lock, so that nothing comes behind the end that `close` puts into the queue.
            self._worker.put(notification)
        return True

    def _done(self) -> None:
        with self._lock:
            self._waiting -= 1


class _Worker:
    """A thread with a loop of its own, which sends the signals of one notification after the other."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._loop = asyncio.new_event_loop()
        self._queue: asyncio.Queue[Notification | None] = asyncio.Queue()
        self._done = done
        # A receiver that never returns must not keep the interpreter from ending.
        self._thread = Thread(target=self._run, name="rxhub-vidispine", daemon=True)
        self._thread.start()

    def put(self, notification: Notification | None) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, notification)

    def end(self, timeout: float) -> bool:
        """Whether everything was sent within the timeout."""
        self.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        while (notification := await self._queue.get()) is not None:
            try:
                await _announce(notification)
            except BaseException:  # noqa: BLE001 -- a receiver's SystemExit must not end the notifications of all
                logger.exception("The signals of a notification on %s were broken off.", notification.resource)
            finally:
                self._done()


async def _announce(notification: Notification) -> None:
    resource, fields = notification
    signals = [vidispine_notification]
    if resource in _ASSETS:
        signals.append(vidispine_auto_import_ntfcn)
    for signal in signals:
        await signal.asend_robust(
            sender=resource, instance=notification.instance, method=notification.method, notification=fields
        )
