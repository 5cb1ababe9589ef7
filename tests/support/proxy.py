"""A connection to a server that can be cut: what a broker restart or a broken network looks like to a worker."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Listens on a port of its own and passes everything on to `target`, until told otherwise."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.open = True
        self.sockets: set[socket.socket] = set()
        #: Client and server of each connection, and the beginning of what each has said.
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.said: dict[socket.socket, bytes] = {}
        self.silent: set[socket.socket] = set()
        #: How many connections were asked for, passed on or not.
        self.attempts = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_) -> None:
        self.listener.close()
        self.cut()

    def cut(self, reopen: bool = True) -> None:
        """Ends all connections; `reopen` says whether new ones are passed on."""
        with self.lock:
            self.open = reopen
            ended, self.sockets = self.sockets, set()
        for one in ended:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def reopen(self) -> None:
        """New connections are passed on again."""
        with self.lock:
            self.open = True

    def silence(self, word: bytes) -> int:
        """Nothing passes any more where a client has said this word, and neither side is told; how many connections those are."""
        with self.lock:
            found = [pair for pair in self.pairs if pair[0] in self.sockets and word in self.said.get(pair[0], b"")]
            self.silent.update(one for pair in found for one in pair)
        return len(found)

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.attempts += 1
                if not self.open:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                self.sockets |= {client, server}
                self.pairs.append((client, server))
            for source, sink in [(client, server), (server, client)]:
                threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                with self.lock:
                    if len(said := self.said.get(source, b"")) < 1 << 16:
                        self.said[source] = said + data
                    is_silent = source in self.silent
                if not is_silent:
                    sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
