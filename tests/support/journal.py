"""What was acknowledged to clients, written down and synced before it counts: the judge of every run with faults.

A journal is a file of JSON lines, of all clients of a run and of all its processes that append to it."""

import collections
import dataclasses
import hashlib
import itertools
import json
import os
import threading
import time

VERIFIED, RETRYING, ABANDONED = "VERIFIED", "RETRYING", "ABANDONED"


@dataclasses.dataclass
class Upload:
    """One try of one client to store one content; times are of the monotonic clock, 0 for what has not been."""

    client: str
    file: str
    sha256: str
    size: int
    begin: float = 0
    stored: float = 0  # Its checksum was answered, and right (ACK1).
    verdict: str = ""  # The last that was sent.
    said: float = 0
    told: float = 0  # The verdict was acknowledged (ACK2, if it is VERIFIED).


@dataclasses.dataclass
class Client:
    """An id that was given out, and digests of the session key that came with it, and of every one that may have."""

    name: str
    session_key: str = ""


@dataclasses.dataclass
class Removal:
    """Versions that somebody deleted, or began to: of a file, or of a client (`file` is empty)."""

    client: str
    file: str
    sha256: str  # Of the version that is meant; empty: all versions.
    begin: float
    done: float = 0


def digest(content):
    return hashlib.sha256(content).hexdigest()


class Journal:
    """Safe to use from many threads."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.file = open(path, "a+b", buffering=0)
        self.numbers = itertools.count(1)
        self.clients, self.uploads, self.removals = {}, {}, {}
        self.old_clients = []  # Each a model_client, which knows its secrets: they are not written down.
        self.longest_pause = 0.0
        self._last_ack = {}

    def close(self):
        self.file.close()

    def _write(self, kind, is_acknowledged, **fields):
        self.file.write(json.dumps({"kind": kind, **fields}).encode() + b"\n")
        if is_acknowledged:
            os.fdatasync(self.file.fileno())

    def client(self, client_id, name, session_key=b""):
        """An id that a client was given, and the key that it took."""
        with self.lock:
            self._write("client", True, id=client_id, name=name, session_key=digest(session_key))
            self.clients[client_id] = Client(name, digest(session_key) if session_key else "")

    def begin(self, client, file, content):
        """Before its first byte leaves; returns its number."""
        with self.lock:
            number = next(self.numbers)
            upload = self.uploads[number] = Upload(client, file, digest(content), len(content), time.monotonic())
            self._write("begin", False, number=number, **dataclasses.asdict(upload))
            return number

    def stored(self, number):
        self._acknowledge("stored", number)

    def say(self, number, verdict):
        """Before a verdict leaves."""
        with self.lock:
            self._write("say", False, number=number, verdict=verdict)
            self.uploads[number].verdict, self.uploads[number].said = verdict, time.monotonic()

    def told(self, number):
        self._acknowledge("told", number)

    def _acknowledge(self, field, number):
        with self.lock:
            upload = self.uploads[number]
            if not getattr(upload, field):
                setattr(upload, field, time.monotonic())
            self._write(field, True, number=number, time=getattr(upload, field))
            now, key = time.monotonic(), threading.get_ident()
            self.longest_pause = max(self.longest_pause, now - self._last_ack.get(key, upload.begin))
            self._last_ack[key] = now

    def remove(self, client, file="", sha256=""):
        """Before somebody asks for it; returns its number."""
        with self.lock:
            number = next(self.numbers)
            removal = self.removals[number] = Removal(client, file, sha256, time.monotonic())
            self._write("remove", False, number=number, **dataclasses.asdict(removal))
            return number

    def removed(self, number):
        with self.lock:
            self._write("removed", True, number=number)
            self.removals[number].done = time.monotonic()

    @property
    def acknowledged(self):
        """How many acknowledgements there were."""
        return sum(bool(upload.stored) + bool(upload.told) for upload in self.uploads.values())

    def by_file(self):
        """(client, file): its uploads in the order in which they began."""
        files = collections.defaultdict(list)
        for upload in sorted(self.uploads.values(), key=lambda one: one.begin):
            files[upload.client, upload.file].append(upload)
        return files
