"""`rxhub publish`: one event to a server, and perhaps the replies."""

from __future__ import annotations

import queue
from time import monotonic
from typing import Annotated, Any

import msgspec
import typer

from rxhub import Event
from rxhub.cli.exit_status import STDIN, Status, complain, ending, open_input
from rxhub.cli.jsonl import LONGEST
from rxhub.cli.output import say_json
from rxhub.cli.server_options import INTERRUPTED, Key, Server, Stream, User, connected

__all__ = ["command"]

_PATIENCE = 10.0


@ending
def command(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", show_default=False, help="What happened: studio.hello")],
    server: Server,
    data: Annotated[
        str, typer.Argument(metavar="DATA", show_default=False, help="What to tell of it, as JSON; - is stdin.")
    ] = "{}",
    user: User = None,
    key: Key = None,
    stream: Stream = None,
    wait: Annotated[
        float | None,
        typer.Option("--wait", "-w", min=0, metavar="SECONDS", show_default=False, help="Wait for a reply."),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, metavar="N", help="Replies to wait for.")] = 1,
) -> Status:
    """Publish an event; with --wait, print the data of what is replied, one JSON line a reply.

    Exit status: 0 if the server has accepted the event and the replies have come, 1 if fewer replies came in time, 2 if
    the topic is empty, the data is not JSON, or the server cannot be reached or rejects the event.
    """
    if not topic.strip():
        raise typer.BadParameter("An event needs a topic, but an empty one was given.", param_hint="TOPIC")
    text = data
    if data == str(STDIN):
        with open_input(STDIN) as opened:
            raw = opened.read(LONGEST + 1)
        if len(raw) > LONGEST:
            complain(f"the data is longer than {LONGEST} bytes")
            return Status.ERROR
        text = raw.decode("utf-8", "replace")
    try:
        content: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        complain(f"the data is not JSON: {error}. Write it in quotes: '{{\"frames\": 120}}'")
        return Status.ERROR
    try:
        with connected(server, user, key, stream) as hub:
            replies: queue.SimpleQueue[Event] = queue.SimpleQueue()
            accepted = hub.publish(Event(topic, data=content), on_reply=None if wait is None else replies.put)
            if accepted is not None:
                try:
                    accepted.result(_PATIENCE)
                except TimeoutError:
                    complain(f"the server has not taken the event within {_PATIENCE:g} s")
                    return Status.ERROR
            return Status.MATCHED if wait is None else _print(replies, wait, count)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _print(replies: queue.SimpleQueue[Event], wait: float, count: int) -> Status:
    end = monotonic() + wait
    for number in range(count):
        try:
            reply = replies.get(timeout=max(0.0, end - monotonic()))
        except queue.Empty:
            came = f"{number} of {count} replies" if number else "no reply"
            complain(f"{came} within {wait:g} s. Is a hub connected whose subscriber returns a value for this topic?")
            return Status.NOT_MATCHED
        say_json(reply.data)
    return Status.MATCHED
