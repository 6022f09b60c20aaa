"""Clients that back up while things go wrong, and note in a journal what they were told. What a call raises tells them nothing:
they come again, as real ones do."""

import contextlib
import random
import threading
import time
import uuid

import grpc_client
import journal as j
import model_client as m
from stored_files import client_text, name_text

# In the catalog, in packs of one chunk and of some.
SIZES = (0, 1, 100, 5_000, 70_000, 300_000)
FILES = 6
FAILURES = (OSError, AssertionError, ValueError, grpc_client.CallError)
PAUSE_S = 0.02  # Before the next try of a client that was not served.
SIGN_UP_S = 90
SERVED_AGAIN_S = 60
ALL_SERVED_S = 90


def until_served(action, within_s=SIGN_UP_S):
    """Repeats an action that changes nothing when repeated."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return action()
        except FAILURES:
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_S)


class LegacyPlayer:
    """An old client behind the bridge."""

    def __init__(self, journal, port, name, dice, sizes=SIZES, files=FILES, host="127.0.0.1"):
        self.journal, self.dice, self.sizes, self.files = journal, dice, sizes, files
        self.client = m.ModelClient(port, name.encode(), version=1, host=host)
        self.failures = 0

    @property
    def id(self):
        return client_text(self.client.id)

    def sign_up(self):
        until_served(self._sign_up)
        self.journal.client(self.id, self.client.name.decode(), self.client.aes)
        self.journal.old_clients.append(self.client)
        return self

    def _sign_up(self):
        if self.client.id == bytes(16):
            assert self.client.register() == m.REGISTERED
        assert self.client.exchange_key() == m.KEY_ACCEPTED

    def choose(self):
        """A file's name and what it is to become."""
        return f"file {self.dice.randrange(self.files)}", self.dice.randbytes(self.dice.choice(self.sizes))

    def transfer(self, file, content, verdict=j.VERIFIED):
        """One try, on one connection; whether all of it was acknowledged. Without a verdict the client goes away before it."""
        number = self.journal.begin(self.id, name_text(file.encode()), content)
        try:
            with contextlib.closing(self.client.connect()) as connection:
                if self.client.send_file(file.encode(), content, connection):
                    self.journal.stored(number)
                else:
                    verdict = j.RETRYING  # The service has to find out which checksum this client compares.
                if not verdict:
                    return True
                self.journal.say(number, verdict)
                code = {j.VERIFIED: m.VALID, j.RETRYING: m.RETRY, j.ABANDONED: m.ABORT}[verdict]
                assert self.client.verdict(code, file.encode(), connection) == m.ACKNOWLEDGED
                self.journal.told(number)
                return bool(self.journal.uploads[number].stored)
        except FAILURES:
            self.failures += 1
            return False

    def step(self):
        """Mostly confirms; sometimes takes it back."""
        verdict = self.dice.choices((j.VERIFIED, j.RETRYING, j.ABANDONED), (8, 1, 1))[0]
        return self.transfer(*self.choose(), verdict)


class ApiPlayer:
    """A caller of the API, that repeats a call under the same upload id until it is told what became of it."""

    def __init__(self, journal, port, name, dice, sizes=SIZES, files=FILES, stop=None):
        self.journal, self.port, self.name, self.dice, self.sizes, self.files = journal, port, name, dice, sizes, files
        self.stop = stop or threading.Event()
        self.api = None
        self.id = ""
        self.failures = 0

    def close(self):
        if self.api is not None:
            self.api.close()
            self.api = None

    def _with_api(self, action):
        try:
            if self.api is None:
                self.api = grpc_client.GrpcClient(self.port)
            return action(self.api)
        except FAILURES:
            self.failures += 1
            self.close()
            raise

    def _until_told(self, action):
        """Repeats it; raises what it raised last once the run is over."""
        while True:
            try:
                return self._with_api(action)
            except FAILURES:
                if self.stop.is_set():
                    raise
                time.sleep(PAUSE_S)

    def sign_up(self):
        self.id = until_served(lambda: self._with_api(
            lambda api: api.call("RegisterClient", name=self.name).client.client_id))
        self.journal.client(self.id, self.name)
        return self

    def choose(self):
        return f"file {self.dice.randrange(self.files)}", self.dice.randbytes(self.dice.choice(self.sizes))

    def transfer(self, file, content, verdict=j.VERIFIED, repeats=1):
        """One upload with its verdict, each delivered `repeats` times, all answers being alike."""
        upload_id = str(uuid.UUID(bytes=self.dice.randbytes(16), version=4))
        number = self.journal.begin(self.id, file, content)
        try:
            answers = [self._until_told(lambda api: api.upload(content, client_id=self.id, file_name=file, upload_id=upload_id))
                       for _ in range(repeats)]
            for answer in answers:
                if answer.version.version_id != answers[0].version.version_id or answer.checksum != answers[0].checksum:
                    raise RuntimeError(f"one upload, two answers: {answers}")
            self.journal.stored(number)
            self.journal.say(number, verdict)
            outcome = {j.VERIFIED: 1, j.RETRYING: 2, j.ABANDONED: 3}[verdict]
            for _ in range(repeats):
                self._until_told(lambda api: api.call("ReportTransfer", client_id=self.id, file_name=file, outcome=outcome,
                                                      upload_id=upload_id))
            self.journal.told(number)
            return True
        except FAILURES:
            return False

    def step(self):
        verdict = self.dice.choices((j.VERIFIED, j.RETRYING, j.ABANDONED), (8, 1, 1))[0]
        return self.transfer(*self.choose(), verdict)


class Load:
    """Players, one thread each, until stop(); what breaks one of them (no answer is that) is raised there."""

    def __init__(self, players):
        self.players = players
        self.stopping = threading.Event()
        self.errors = []
        # Of each player: when the last step began of which all was acknowledged.
        self.served = [0.0] * len(players)
        self.threads = [threading.Thread(target=self._play, args=(number,), daemon=True) for number in range(len(players))]
        for player in players:
            if isinstance(player, ApiPlayer):
                player.stop = self.stopping

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def _play(self, number):
        player = self.players[number]
        try:
            player.sign_up()
            while not self.stopping.is_set():
                begin = time.monotonic()
                if player.step():
                    self.served[number] = begin
                else:
                    time.sleep(PAUSE_S)
        except Exception as error:  # Raised by stop().
            self.errors.append(f"{player.id}: {error!r}")

    def _wait(self, is_done, what, within_s):
        deadline = time.monotonic() + within_s
        while not is_done():
            assert time.monotonic() < deadline, f"{what} within {within_s} s"
            assert not self.errors, self.errors
            time.sleep(PAUSE_S)

    def wait_for_service(self, after, within_s=SERVED_AGAIN_S):
        """What a client of each kind begins from now on is acknowledged."""
        now = time.monotonic()
        kinds = [[number for number, player in enumerate(self.players) if isinstance(player, kind)] for kind in (LegacyPlayer, ApiPlayer)]
        self._wait(lambda: all(any(self.served[number] >= now for number in kind) for kind in kinds if kind),
                   f"after {after} not every kind of clients is served", within_s)

    def wait_for_all(self, within_s=ALL_SERVED_S):
        """So it is for every client: none is stuck with what once failed."""
        now = time.monotonic()
        self._wait(lambda: min(self.served) >= now, "not every client is served", within_s)

    def stop(self, within_s=SIGN_UP_S):
        self.stopping.set()
        deadline = time.monotonic() + within_s
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        hanging = sum(thread.is_alive() for thread in self.threads)
        if hanging:
            self.errors.append(f"{hanging} clients hang")
        for player in self.players:
            if isinstance(player, ApiPlayer):
                player.close()
        assert not self.errors, self.errors


def mixed(journal, cluster, dice, count, sizes=SIZES, prefix="client"):
    """Half of them old clients, half callers of the API."""
    return [(LegacyPlayer if number % 2 == 0 else ApiPlayer)(
        journal, cluster.port if number % 2 == 0 else cluster.service_port, f"{prefix} {number}",
        random.Random(dice.randrange(1 << 62)), sizes) for number in range(count)]
