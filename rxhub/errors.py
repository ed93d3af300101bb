"""The exceptions: one tree, each saying what was tried, what was found and what to do."""

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
    "WrongLoop",
    "as_exception",
    "error_text",
]


class RxHubError(Exception):
    """Base of every exception that rxhub raises on purpose.

    Its text may quote topics, ids and messages of other programs; `str` escapes what a terminal would obey.
    """

    def __str__(self) -> str:
        return printable(super().__str__(), lines=True)


class EventError(RxHubError, ValueError):
    """An event, or what came from the wire as one, cannot be used."""


class ExpressionError(RxHubError, ValueError):
    """A subscription that cannot be parsed, or a tree that no text denotes.

    Attributes:
        text: the subscription as it was given; empty for a tree built by hand.
        position: index into `text` where reading stopped.
        expected: what could have stood there, in words for people.
        hint: how the usual mistake of this kind is mended; empty if none is known.
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
    """A subscriber with this id is registered already."""


class NotFoundError(RxHubError, LookupError):
    """No subscriber, or no dead letter, has this id."""


class HubConnectionError(RxHubError, ConnectionError):
    """The hub is not connected, is connected already, or could not be connected."""


class ProtocolError(RxHubError, ValueError):
    """What came over the wire, or was to go over it, is not what the protocol allows."""


class HubClosed(HubConnectionError):
    """The hub was closed; it takes nothing new."""


class Overflow(RxHubError):
    """A bounded queue is full and its policy is to say so."""


class AlreadyHandled(RxHubError, RuntimeError):
    """A second handling context was opened on a hub that has one."""


class NotHandled(RxHubError, RuntimeError):
    """Something would wait for events to be handled, but nobody handles them."""


class NotHandledWarning(RuntimeWarning):
    """An event was published on a hub that nobody handles: no callback will run until somebody does."""


class WrongLoop(RxHubError, RuntimeError):
    """A coroutine of rxhub's was awaited where asyncio does not run."""


class NotConnectedWarning(RuntimeWarning):
    """A hub is handled that is not connected: no event arrives until `connect()` is called."""


class BlockingCallWarning(RuntimeWarning):
    """A blocking call was made in a thread whose event loop is running: the loop stands still meanwhile."""


class SubscriptionWarning(UserWarning):
    """A subscription has a key that is similar to a known one, and probably misspelled."""


class NoReply(RxHubError, TimeoutError):
    """No reply came within the timeout."""


class PipelineEnded(RxHubError):
    """An error in an operator ended a pipeline, by the rule of Rx; the error is the `__cause__`."""


class CallbackInterrupted(RxHubError, RuntimeError):
    """A callback ended by what is no `Exception`, such as its own cancellation; that is the `__cause__`."""


class AsyncReceiverError(RxHubError, RuntimeError):
    """A coroutine receiver was to be called by `send` inside of a running event loop."""


class TooLate(RxHubError, RuntimeError):
    """`stop()` was called after the event had been handed over: the later subscribers have it already."""


class ScopeClosed(RxHubError, RuntimeError):
    """Something was registered in the name of a plugin that had been torn down."""


class PluginError(RxHubError, RuntimeError):
    """A plugin cannot be started: a requirement is missing, cyclic or failed, or it is no plugin at all."""


class NotDurable(RxHubError, NotImplementedError):
    """This transport keeps no history: processing, replay and dead letters need `nats://`."""


class Refused(RxHubError):
    """A server does not do what a client asked for; the message is told to the client."""


class StreamError(RxHubError):
    """JetStream does not do what it was asked for.

    Attributes:
        code: of the kind of HTTP's.
        number: JetStream's own number of the error.
        description: JetStream's words.
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
    """A group of processes cannot be joined like this: others of it do something else."""


class PlainTextRefused(RxHubError, ValueError):
    """A server was to send keys and events in plain text over a network."""


class UsersError(RxHubError, ValueError):
    """The users of a server cannot be read, or not be changed like this."""


class StoreError(RxHubError, RuntimeError):
    """The private NATS server of a directory cannot be started, or the directory not be used."""


def error_text(error: BaseException) -> str:
    """What an error says, as text that can be written anywhere, whatever its class or its message holds."""
    try:
        said = str(error)
    except BaseException as raised:
        said = f"its message cannot be read, since that raises {type(raised).__name__}"
    # File names that are not UTF-8 contain lone surrogates, which cannot be encoded.
    return printable(said, lines=True)


def as_exception(error: BaseException) -> Exception:
    """The error itself, or, for what is no `Exception`, one that outcomes can hold."""
    if isinstance(error, Exception):
        return error
    interrupted = CallbackInterrupted(f"The callback ended by {type(error).__name__}.")
    interrupted.__cause__ = error
    return interrupted
