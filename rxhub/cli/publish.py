"""`rxhub publish`: publish one event to a server, and print replies."""

from __future__ import annotations

import queue
from time import monotonic
from typing import Annotated, Any

import msgspec
import typer

from rxhub import Event
from rxhub.cli.connect import open_hub
from rxhub.cli.credentials import credentials
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.inputs import STDIN, open_input
from rxhub.cli.nats_options import NatsFiles, with_nats_files
from rxhub.cli.options import Key, Server, ServerStream, User, argument, option
from rxhub.cli.output import print_error, print_json
from rxhub.exploration.jsonl import MAX_LINE_BYTES

__all__ = ["command"]

_ACK_TIMEOUT_S = 10.0


@exits_with_status
@with_nats_files
def command(
    topic: Annotated[str, argument("TOPIC", "Topic, for example studio.hello.")],
    server: Server,
    files: NatsFiles,
    data: Annotated[str, argument("DATA", "Data of the event, as JSON. - is stdin.", show_default=False)] = "{}",
    user: User = None,
    key: Key = None,
    stream: ServerStream = None,
    wait: Annotated[float | None, option("SECONDS", "Wait this time for a reply.", "--wait", "-w", min=0)] = None,
    count: Annotated[int, option("N", "Number of replies to wait for.", "--count", "-n", min=1)] = 1,
) -> Status:
    """Publish an event. With --wait, print the data of each reply as a line of JSON.

    Exit status: 0 if the server accepted the event and all replies arrived, 1 if fewer replies arrived in time, 2 if
    the topic is empty, the data is not JSON, or the server is unreachable or rejects the event.
    """
    if not topic.strip():
        raise typer.BadParameter("The topic is empty. Give a topic, for example studio.hello.", param_hint="TOPIC")
    text = data
    if data == str(STDIN):
        with open_input(STDIN) as opened:
            raw = opened.read(MAX_LINE_BYTES + 1)
        if len(raw) > MAX_LINE_BYTES:
            print_error(f"the data is longer than {MAX_LINE_BYTES} bytes")
            return Status.ERROR
        text = raw.decode("utf-8", "replace")
    try:
        content: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        print_error(f"the data is not JSON: {error}. Example with quotes for the shell: '{{\"frames\": 120}}'")
        return Status.ERROR
    with open_hub(credentials(server, user, key, files=files), stream) as hub:
        replies: queue.SimpleQueue[Event] = queue.SimpleQueue()
        accepted = hub.publish(Event(topic, data=content), on_reply=None if wait is None else replies.put)
        if accepted is not None:
            try:
                accepted.result(_ACK_TIMEOUT_S)
            except TimeoutError:
                print_error(f"the server has not acknowledged the event within {_ACK_TIMEOUT_S:g} s")
                return Status.ERROR
        return Status.MATCHED if wait is None else _print_replies(replies, wait, count)


def _print_replies(replies: queue.SimpleQueue[Event], wait: float, count: int) -> Status:
    end = monotonic() + wait
    for number in range(count):
        try:
            reply = replies.get(timeout=max(0.0, end - monotonic()))
        except queue.Empty:
            received = f"{number} of {count} replies" if number else "no reply"
            print_error(
                f"{received} within {wait:g} s. Is a hub connected whose subscriber returns a value for this topic?"
            )
            return Status.NOT_MATCHED
        print_json(reply.data)
    return Status.MATCHED
