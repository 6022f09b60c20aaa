"""Old clients that mean harm, or are broken, beside one that behaves."""

import concurrent.futures
import contextlib
import os
import random
import resource
import socket
import struct
import time

import journal as j
import model_client as m
from hostile_names import hostile_names
from journaled_clients import LegacyPlayer, Load, until_served
from oracle import Resources
from probe_client import NOISE_S, Probe, is_bearable, p99
from scenario import scenario
from stored_files import name_text

SERVICE_MEMORY, BRIDGE_MEMORY = 512 << 20, 256 << 20
SERVICE_THREADS = 4600  # kMaxSynchronousCalls, kMaxUploadThreads, kMaxCallThreads, and those that there always are.
DRIP_S = 0.5
VICTIM_FILES = 5
ERRORS = (OSError, AssertionError)


def raise_descriptor_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Beside:
    """Both processes, a victim whose files are to stay, and a client that behaves, measured before and while the others are there."""

    def __init__(self, run, noise_s=NOISE_S, service_memory=SERVICE_MEMORY, **flags):
        raise_descriptor_limit()
        self.run, self.noise_s, self.service_memory = run, noise_s, service_memory
        self.cluster = run.start(**flags)
        self.victim = LegacyPlayer(run.journal, self.cluster.port, "victim", random.Random(run.seed)).sign_up()
        for number in range(VICTIM_FILES):
            assert self.victim.transfer(f"file {number}", run.dice.randbytes(1000 * 10 ** number % 300_000))
        self.probe = Probe(self.cluster.port)
        run.defer(self._end_probe)
        self.quiet_s = p99(self.probe.measure(run.times(2, 5)))
        self.before = run.resources(self.cluster)
        self.took = []

    def _end_probe(self):
        if self.probe.process.is_alive():
            self.probe.process.kill()

    def measure(self, what, seconds):
        """While they are there."""
        self._check(what, self.probe.measure(seconds))

    def measure_so_far(self, what):
        """What it was since the last time."""
        self._check(what, self.probe.measure_so_far())

    def _check(self, what, took):
        self.took += took
        for process, limit in ((self.cluster.service, self.service_memory), (self.cluster.bridge, BRIDGE_MEMORY)):
            used = Resources.of(process).memory
            assert used < limit, f"{what}: {process.name} holds {used >> 20} MiB"
        threads = Resources.of(self.cluster.service).threads
        assert threads < SERVICE_THREADS, f"{what}: the service has {threads} threads"

    def judge(self, but_for=()):
        """They are gone: all is as before, but for what is told."""
        meanwhile_s = p99(self.took)
        # Before and after: others may use the machine, too.
        self.quiet_s = max(self.quiet_s, p99(self.probe.measure(self.run.times(1, 5))))
        self.probe.close()
        assert not self.probe.failures, f"the client that behaves failed: {self.probe.failures[:3]}"
        told = f"p99 of the client that behaves: {self.quiet_s * 1000:.1f} ms without, {meanwhile_s * 1000:.1f} ms with the others"
        self.run.note(told)
        assert is_bearable(self.quiet_s, meanwhile_s, self.noise_s), told
        self.run.judge_resources(self.cluster, self.before, but_for)
        assert self.victim.transfer("afterwards", b"served as before")


def only_victims_are_judged(run, beside):
    """The store has files of clients that are in no journal: those of the one that behaves, and what hostile ones may do as anybody."""
    run.judge(beside.cluster)
    run.problems = [problem for problem in run.problems if problem.kind != "client too many"]


# The ways to be slow. Each gets a connection that was made, and the victim's id; what it returns is done again and again.

def in_the_head(connection, victim):
    connection.sendall(victim.client.id[:1])
    return lambda: connection.send(b"\0")


def in_the_content(connection, victim):
    size = 1 << 20
    connection.sendall(victim.client.id + struct.pack("<BHI", 1, m.FILE, size + 259) + struct.pack("<I", size) + m.name_field(b"slow"))
    return lambda: connection.send(b"x" * 100)


def stops_in_the_content(connection, victim):
    in_the_content(connection, victim)
    connection.sendall(os.urandom(100_000))


def reads_no_answer(connection, victim):
    """Asks for answers until its own window is full."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    head = victim.client.id + struct.pack("<BHI", 1, m.RECONNECT, 255) + m.name_field(b"victim")
    connection.setblocking(False)
    with contextlib.suppress(OSError):
        connection.send(head * 50)


def closes_its_half(connection, victim):
    connection.sendall(victim.client.id[:10])
    connection.shutdown(socket.SHUT_WR)


def says_nothing(connection, victim):
    pass


SLOW = (in_the_head, in_the_content, stops_in_the_content, reads_no_answer, closes_its_half, says_nothing)


@scenario("R16", deadline_s=180)
def slow_clients(run):
    """clients that are slow in every phase, 2 000 at once"""
    beside = Beside(run, bridge_flags=["--header_timeout=3s", "--idle_timeout=4s", "--body_timeout=3s", "--write_timeout=3s"])
    for _ in range(run.times(1, 20)):
        connections, drips = [], []
        for number in range(run.times(300, 2000)):
            try:
                connection = socket.create_connection(("127.0.0.1", beside.cluster.port), timeout=10)
                connections.append(connection)
                drip = SLOW[number % len(SLOW)](connection, beside.victim)
                connection.setblocking(False)
                if drip:
                    drips.append(drip)
                run.tally.faults += 1
            except OSError:
                continue
        deadline = time.monotonic() + run.times(4, 60)
        while time.monotonic() < deadline:
            for drip in drips:
                with contextlib.suppress(OSError):
                    drip()
            beside.measure("slow clients", DRIP_S)
        for connection in connections:
            connection.close()
    beside.judge()
    only_victims_are_judged(run, beside)


class Denier(LegacyPlayer):
    """Whatever it is answered is wrong: three times again, then it gives up, and comes back at once."""

    def sign_up(self):
        super().sign_up()
        while not self.transfer("good", self.name_content()):
            pass
        return self

    def name_content(self):
        return b"the good version of " + self.client.name

    def step(self):
        content = self.dice.randbytes(2000)
        for verdict in (j.RETRYING, j.RETRYING, j.RETRYING, j.ABANDONED):
            self.transfer("good", content, verdict)
        return True


@scenario("R17", deadline_s=180)
def resend_storm(run):
    """500 clients that answer "wrong" for ever"""
    beside = Beside(run)
    storm = Load([Denier(run.journal, beside.cluster.port, f"denier {number}", random.Random(run.seed + number))
                  for number in range(run.times(20, 500))]).start()
    storm.wait_for_service("it began")
    deadline = time.monotonic() + run.times(3, 600)
    while time.monotonic() < deadline:
        beside.measure("a resend storm", 1)
    storm.wait_for_all()
    storm.stop()
    run.tally.faults += sum(len(uploads) for uploads in run.journal.by_file().values())
    beside.judge()
    only_victims_are_judged(run, beside)


def flood_connections(port, seconds):
    """Connections that are closed at once, half of them by a reset; returns how many."""
    deadline, count = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", port), timeout=5)
            if count % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            count += 1
    return count


def flood_registrations(port, count, names):
    """Names that nobody else has; some too long, empty or no text. Returns how many got an id."""
    made = 0
    for number in range(count):
        name = b"%s %d" % (names, number) if number % 10 else (b"", b"\xff" * 255, b"\n" * 20, b"victim")[number // 10 % 4]
        try:
            made += m.ModelClient(port, name, version=1).register() == m.REGISTERED
        except ERRORS:
            pass
    return made


def flood_handshakes(port, seconds):
    """Beginnings of TLS and HTTP/2, and rubbish, to a port."""
    deadline, count, dice = time.monotonic() + seconds, 0, random.Random(1)
    hellos = (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"")
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", port), timeout=5)
            connection.sendall(dice.choice(hellos) + dice.randbytes(dice.randrange(200)))
            connection.close()
            count += 1
    return count


def in_a_process(action, *arguments):
    """Attackers do not run where the measuring is done."""
    pool = concurrent.futures.ProcessPoolExecutor(1, initializer=os.nice, initargs=(5,))
    done = pool.submit(action, *arguments)
    pool.shutdown(wait=False)
    return done


@scenario("S6", deadline_s=180)
def floods(run):
    """floods of connections, of registrations and of handshakes on both ports"""
    # What they do to who stands beside, not how they are kept away: tests/e2e/admission_test.py.
    beside = Beside(run, bridge_flags=["--registrations_per_address=0", "--registrations=0"])
    cluster = beside.cluster
    seconds = run.times(1.5, 60)
    attacks = ((flood_connections, cluster.port, seconds), (flood_connections, cluster.service_port, seconds),
               (flood_registrations, cluster.port, run.times(300, 100_000), b"flood"),
               (flood_handshakes, cluster.port, seconds), (flood_handshakes, cluster.service_port, seconds))
    for action, port, *more in attacks:
        done = in_a_process(action, port, *more)
        while not done.done():
            beside.measure(action.__name__, 0.5)
        assert done.result() > 0, f"{action.__name__} did nothing"
        run.tally.faults += done.result()
    beside.judge()
    only_victims_are_judged(run, beside)


def told(client, code, payload, connection=None):
    """The code of the answer; None: the connection ended instead."""
    try:
        return client.request(code, payload, connection)[0]
    except ERRORS:
        return None


@scenario("S4 S5", deadline_s=180)
def strangers(run):
    """ids that are guessed, foreign ids with own keys, sessions that are replayed"""
    beside = Beside(run)
    cluster, victim = beside.cluster, beside.victim
    # Guessed ids: no file, no verdict, no key.
    for _ in range(run.times(100, 20_000)):
        stranger = m.ModelClient(cluster.port, b"scanner", version=1)
        stranger.id = run.dice.randbytes(16)
        payload = struct.pack("<I", 32) + m.name_field(b"file 0") + bytes(32)
        code, payload = run.dice.choice(((m.FILE, payload), (m.VALID, m.name_field(b"file 0")), (m.ABORT, m.name_field(b"file 0")),
                                         (m.PUBLIC_KEY, m.name_field(b"scanner") + victim.client.rsa.publickey().export_key("DER"))))
        answer = told(stranger, code, payload)
        assert answer == m.ERROR, f"a stranger's request {code} is answered with {answer}"
        run.tally.faults += 1
    # The victim's id with a key of the attacker's: refused, and the victim's key stays.
    for _ in range(run.times(5, 100)):
        thief = m.ModelClient(cluster.port, run.dice.choice((b"victim", b"thief")), version=1)
        thief.id, thief.rsa = victim.client.id, m.RSA.generate(1024, e=17)
        assert told(thief, m.PUBLIC_KEY, m.name_field(thief.name) + thief.rsa.publickey().export_key("DER")) == m.ERROR
        # Whoever knows the id is given the key, but as the victim alone can read it.
        code, payload = thief.request(m.RECONNECT, m.name_field(b"victim"))
        assert code == m.RECONNECTED and victim.client.aes not in payload
        run.tally.faults += 1
    replay_sessions(run, beside)
    beside.measure_so_far("strangers")
    before = victim.client.aes
    assert victim.client.reconnect() == m.RECONNECTED and victim.client.aes == before, "the victim has another key"
    beside.judge()
    only_victims_are_judged(run, beside)


def replay_sessions(run, beside):
    """What a client sent for a file and its verdict, sent again by somebody else, and at last many times at once."""
    victim = beside.victim.client
    content = run.dice.randbytes(3000)
    ciphertext = victim.encrypt(content)
    payload = struct.pack("<I", len(ciphertext)) + m.name_field(b"recorded") + ciphertext
    sent = (victim.id + struct.pack("<BHI", 1, m.FILE, len(payload)) + payload
            + victim.id + struct.pack("<BHI", 1, m.VALID, 255) + m.name_field(b"recorded"))

    def replay(_):
        number = run.journal.begin(beside.victim.id, "recorded", content)
        run.journal.say(number, j.VERIFIED)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", beside.cluster.port), timeout=30) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(replay, range(run.times(50, 1000))))
    run.tally.faults += run.times(50, 1000)


@scenario("S3", deadline_s=180)
def names(run):
    """500 hostile names: stored, listed and restored as data, inside the folder, and no line of a log is forged"""
    beside = Beside(run)
    player = LegacyPlayer(run.journal, beside.cluster.port, "'; DROP TABLE clients; --", random.Random(run.seed)).sign_up()
    beside_data = set(run.folder.iterdir())
    wanted = hostile_names(500)
    for name in wanted if run.is_soak else run.dice.sample(wanted, 120) + wanted[:30]:
        transfer_bytes(player, name)
        run.tally.faults += 1
    beside.measure_so_far("hostile names")
    assert set(run.folder.iterdir()) == beside_data, "something was written beside the data"
    beside.judge()
    check_log_lines(beside.cluster)
    only_victims_are_judged(run, beside)


def transfer_bytes(player, name):
    content = b"content of " + name
    number = player.journal.begin(player.id, name_text(name), content)
    assert until_served(lambda: player.client.send_file(name, content)), name
    player.journal.stored(number)
    player.journal.say(number, j.VERIFIED)
    assert player.client.verdict(m.VALID, name) == m.ACKNOWLEDGED, name
    player.journal.told(number)


def check_log_lines(cluster):
    """Each line begins as the programs' own lines do, and has no control characters."""
    for process in (cluster.service, cluster.bridge):
        for line in process.log_path.read_bytes().splitlines():
            assert line[:1] in (b"I", b"W", b"E", b"F", b"C", b"D") and b" forged.cc" not in line[:60], f"a forged line: {line!r}"
            assert not any(byte < 32 and byte != 9 or byte == 127 for byte in line), f"control characters in a log: {line!r}"
