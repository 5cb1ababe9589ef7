"""What the world hears of workers: event messages as they come off the wire."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading

from kombu import Consumer


@dataclasses.dataclass
class Heard:
    """One message: an event, or a list of them."""

    routing_key: str
    headers: dict
    properties: dict
    content_type: str
    events: list[dict]


class Ear:
    """Listens in a thread of its own, on a connection of its own, from `with` on."""

    def __init__(self, app) -> None:
        self.app, self.messages = app, []
        self.listening, self.stopped = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.listen, daemon=True)

    def __enter__(self) -> "Ear":
        self.thread.start()
        assert self.listening.wait(60), "the broker does not let us listen"
        return self

    def __exit__(self, *_) -> None:
        self.stopped.set()
        self.thread.join()

    def listen(self) -> None:
        with self.app.connection_for_read() as connection:
            queue = self.app.events.Receiver(connection).queue
            with Consumer(connection.default_channel, [queue], on_message=self.hear, no_ack=True, accept=["json", "msgpack"]):
                while not self.stopped.is_set():
                    with contextlib.suppress(socket.timeout):
                        connection.drain_events(timeout=0.2)
                    # On Redis it has subscribed by now.
                    self.listening.set()

    def hear(self, message) -> None:
        body = message.payload
        own = ("delivery_info", "delivery_tag", "body_encoding", "application_headers")
        properties = {name: value for name, value in message.properties.items() if name not in own}
        events = body if isinstance(body, list) else [body]
        routing_key = message.delivery_info["routing_key"]
        self.messages.append(Heard(routing_key, message.headers, properties, message.content_type, events))

    def by(self, hostname: str) -> list[Heard]:
        return [message for message in list(self.messages) if message.headers.get("hostname") == hostname]

    def events(self, hostname: str | None = None, **fields) -> list[dict]:
        """Those with these fields, in the order in which they came."""
        messages = list(self.messages) if hostname is None else self.by(hostname)
        return [event for message in messages for event in message.events if fields.items() <= event.items()]
