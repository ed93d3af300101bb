"""The exceptions of rxhub. Messages say what was attempted, what happened and what to do."""

from __future__ import annotations

from rxhub.text.printable import printable, terminal_width

__all__ = [
    "AlreadyHandled",
    "AsyncReceiverError",
    "BlockingCallWarning",
    "CallbackInterrupted",
    "EventError",
    "ExpressionError",
    "GroupError",
    "HubClosed",
    "HubConnectionError",
    "NoReply",
    "NotConnectedWarning",
    "NotDurable",
    "NotFoundError",
    "NotHandled",
    "NotHandledWarning",
    "NotUniqueError",
    "Overflow",
    "PipelineEnded",
    "PlainTextRefused",
    "PluginError",
    "ProtocolError",
    "Refused",
    "RxHubError",
    "ScopeClosed",
    "StoreError",
    "StreamError",
    "SubscriptionWarning",
    "TooLate",
    "UsersError",
    "WebhookError",
    "WrongLoop",
    "as_exception",
    "error_text",
]


class RxHubError(Exception):
    """Base class of the exceptions of rxhub.

    Messages may quote topics, ids and messages of other programs; `str` escapes control characters.
    """

    def __str__(self) -> str:
        return printable(super().__str__(), lines=True)


class EventError(RxHubError, ValueError):
    """An event is invalid."""


class ExpressionError(RxHubError, ValueError):
    """A subscription cannot be parsed, or no text denotes a tree.

    Attributes:
        text: the subscription; empty for a tree built by hand.
        position: index into `text` where parsing stopped.
        expected: what was expected there.
        hint: how to fix the usual mistake of this kind; empty if none is known.
    """

    def __init__(self, message: str, text: str = "", position: int = 0, expected: str = "", hint: str = "") -> None:
        super().__init__(message, text, position, expected, hint)
        self.message = message
        self.text = text
        self.position = position
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        lines = [printable(self.message, lines=True)]
        if self.text:
            lines += self._excerpt()
        if self.expected:
            lines.append(f"Expected {printable(self.expected)}.")
        if self.hint:
            lines.append(f"Hint: {printable(self.hint)}")
        return "\n".join(lines)

    def _excerpt(self, width: int = 72) -> list[str]:
        """The part of the text around the position, and a caret under it, as two lines."""
        start = max(0, self.position - width // 2)
        before = printable(self.text[start : self.position])
        behind = printable(self.text[self.position : start + width])
        return [f"  {before}{behind}", f"  {' ' * terminal_width(before)}^"]


class NotUniqueError(RxHubError, ValueError):
    """A subscriber with this id already exists."""


class NotFoundError(RxHubError, LookupError):
    """No subscriber, or no dead letter, has this id."""


class HubConnectionError(RxHubError, ConnectionError):
    """The hub is not connected, is already connected, or could not connect."""


class ProtocolError(RxHubError, ValueError):
    """A message violates the protocol."""


class HubClosed(HubConnectionError):
    """The hub is closed."""


class Overflow(RxHubError):
    """A bounded queue with the policy "error" is full."""


class AlreadyHandled(RxHubError, RuntimeError):
    """A second runner was started on a hub that already has one."""


class NotHandled(RxHubError, RuntimeError):
    """A call would wait for a callback, but no runner runs the callbacks of the hub."""


class NotHandledWarning(RuntimeWarning):
    """An event was published on a hub without a runner: no callback runs until one is started."""


class WrongLoop(RxHubError, RuntimeError):
    """A coroutine of rxhub was awaited outside of asyncio."""


class NotConnectedWarning(RuntimeWarning):
    """A runner was started on a hub that is not connected: no event arrives until `connect()` is called."""


class BlockingCallWarning(RuntimeWarning):
    """A blocking call was made in a thread with a running event loop, which it blocks."""


class SubscriptionWarning(UserWarning):
    """A subscription has a key that is probably misspelled."""


class NoReply(RxHubError, TimeoutError):
    """No reply came within the timeout."""


class PipelineEnded(RxHubError):
    """An error in an operator ended a pipeline, as Rx requires; the error is the `__cause__`."""


class CallbackInterrupted(RxHubError, RuntimeError):
    """A callback was ended by a `BaseException` such as a cancellation, which is the `__cause__`."""


class AsyncReceiverError(RxHubError, RuntimeError):
    """`send` cannot call a coroutine receiver while an event loop is running."""


class TooLate(RxHubError, RuntimeError):
    """`stop()` was called after later subscribers had received the event."""


class ScopeClosed(RxHubError, RuntimeError):
    """A scope that has been closed, such as a plugin that was torn down, cannot own new registrations."""


class PluginError(RxHubError, RuntimeError):
    """A plugin cannot be started: a requirement is missing, cyclic or failed, or it is not a plugin."""


class NotDurable(RxHubError, NotImplementedError):
    """This transport keeps no history: processing, replay and dead letters need `nats://`."""


class Refused(RxHubError):
    """A server refuses a request; the client receives the message."""


class StreamError(RxHubError):
    """JetStream refuses a request.

    Attributes:
        code: the status code, as in HTTP.
        number: the error number of JetStream.
        description: the description by JetStream.
    """

    def __init__(self, code: int, number: int, description: str, asked: str = "") -> None:
        super().__init__(code, number, description, asked)
        self.code = code
        self.number = number
        self.description = description
        self.asked = asked

    def __str__(self) -> str:
        return printable(f"JetStream refuses {self.asked or 'a message'}: {self.description} ({self.number}).")


class GroupError(RxHubError, ValueError):
    """A process cannot join a consumer group, since its options differ from those of the group."""


class PlainTextRefused(RxHubError, ValueError):
    """A server refuses to send keys and events unencrypted over a network."""


class UsersError(RxHubError, ValueError):
    """The users of a server cannot be read or changed."""


class WebhookError(RxHubError, ValueError):
    """The incoming webhooks of a server cannot be used."""


class StoreError(RxHubError, RuntimeError):
    """The private NATS server of a directory cannot be started, or the directory cannot be used."""


def error_text(error: BaseException) -> str:
    """The printable message of an error. Never raises."""
    try:
        text = str(error)
    except BaseException as raised:
        text = f"its message cannot be read: str() raised {type(raised).__name__}"
    # File names that are not UTF-8 contain lone surrogates, which cannot be encoded.
    return printable(text, lines=True)


def as_exception(error: BaseException) -> Exception:
    """The error itself if it is an `Exception`, else a `CallbackInterrupted` caused by it."""
    if isinstance(error, Exception):
        return error
    interrupted = CallbackInterrupted(f"The callback ended by {type(error).__name__}.")
    interrupted.__cause__ = error
    return interrupted
