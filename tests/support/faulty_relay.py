"""A relay of TCP connections to a database or an object store, that cuts, loses, holds, delays and refuses as it is told."""

import contextlib
import dataclasses
import re
import select
import socket
import struct
import threading
import time

PIECE = 1 << 16
LOOK_S = 0.02
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: what is not sent yet is thrown away, and the other end told so.
REQUEST = re.compile(rb"^[A-Z]+ \S+ HTTP/1\.1\r\n")
SLOW_DOWN = (b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>')


@dataclasses.dataclass(frozen=True)
class Faults:
    """Probabilities are of each piece that comes; what is cut ends the connection, in the middle of the piece, by a reset."""

    cut_there: float = 0.0
    cut_back: float = 0.0
    lost_answers: float = 0.0  # The work is done, and nobody is told: the connection ends instead.
    unavailable: float = 0.0  # Of a request by HTTP: 503 instead of an answer.
    delay_s: float = 0.0  # At most, of each piece.
    is_deaf: bool = False  # All that comes is held; what was held at the end is lost with its connection.


NO_FAULTS = Faults()


class Cut(Exception):
    """Ends a connection."""


class FaultyRelay:
    """In front of `target`, a port of this machine or the path of a socket; listens on `port`. `with` closes it."""

    def __init__(self, target, dice):
        self.target, self.dice = target, dice
        self.faults = NO_FAULTS
        self.injected = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        # close() alone would leave accept() waiting.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, contextlib.suppress(OSError):
            with self._connect() as target:
                try:
                    self._carry(client, target)
                except Cut:
                    for end in (client, target):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _connect(self):
        if isinstance(self.target, int):
            return socket.create_connection(("127.0.0.1", self.target))
        target = socket.socket(socket.AF_UNIX)
        target.connect(str(self.target))
        return target

    def _carry(self, client, target):
        while True:
            for source in select.select([client, target], [], [])[0]:
                piece = source.recv(PIECE)
                if not piece:
                    return
                self._pass_on(piece, client, target, is_there=source is client)

    def _pass_on(self, piece, client, target, is_there):
        faults = self.faults
        if faults.is_deaf:
            self._hold()
        time.sleep(self.dice.uniform(0, faults.delay_s))
        if is_there and self._strikes(faults.unavailable) and REQUEST.match(piece):
            self._refuse(client)
        if not is_there and self._strikes(faults.lost_answers):
            self._cut()
        end = target if is_there else client
        if self._strikes(faults.cut_there if is_there else faults.cut_back):
            end.sendall(piece[:self.dice.randrange(len(piece))])
            self._cut()
        end.sendall(piece)

    def _strikes(self, probability):
        return probability > 0 and self.dice.random() < probability

    def _cut(self):
        self.injected += 1
        raise Cut

    def _hold(self):
        while self.faults.is_deaf:
            time.sleep(LOOK_S)
        self._cut()

    def _refuse(self, client):
        """Whatever body comes still is taken, so that the answer is not lost by a reset."""
        self.injected += 1
        head = f"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {len(SLOW_DOWN)}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode() + SLOW_DOWN)
        client.shutdown(socket.SHUT_WR)
        while client.recv(PIECE):
            pass
        raise Cut
