"""Model clients of families A to E, in every style, against the service and two bridges: one takes 1025 for family C,
one for family D. What was confirmed must be in the store when the conversations are over."""

import collections
import concurrent.futures
import dataclasses
import functools
import itertools
import pathlib
import random
import re
import tempfile
import traceback
import unittest

from Cryptodome.PublicKey import RSA

import exposition
import family_clients as f
from cluster import Cluster, Process
from stored_files import all_newest_verified, name_text

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROCESSES = 2
RESTORES_AT_ONCE = 4
CONVERSATIONS_AT_ONCE = 96
BATCH = 100
SHOWN_FAILURES = 10

SIZES = (0, 1, 15, 16, 17, 1024, 4000)
# The last two make payload sizes with a zero byte in the middle, for families with and without the id in front.
LARGER_SIZES = (130538, 65536 - 275, 65536 - 259)
LARGEST_SIZE = 3 << 20
BODY_SIZES = (1008, 4096, 65536)
BLOCK_PLAINTEXTS = (735, 720)  # The most that fits into a block; a multiple of a cipher block's size.
FILES_A_RUN = 2


@functools.cache
def content_of(size, seed):
    """Random bytes, the same in every process."""
    return random.Random(f"{size} {seed}").randbytes(size)


@dataclasses.dataclass(frozen=True)
class Conversations:
    """One client's two runs; files are (name, size, seed)."""

    style: f.Style
    name: bytes
    first: tuple
    second: tuple
    start: str = "signs up"


@dataclasses.dataclass
class Outcome:
    """What must be in the store: by (client, name) the newest (size, seed), and the number of confirmed transfers."""

    newest: dict = dataclasses.field(default_factory=dict)
    verified: int = 0
    conversations: int = 0
    failures: list = dataclasses.field(default_factory=list)

    def add(self, other):
        self.newest.update(other.newest)
        self.verified += other.verified
        self.conversations += other.conversations
        self.failures += other.failures


def start_run(client, plan, files):
    """The first run, in one of the ways in which a client can come to its id."""
    if plan.start == "signs up":
        return client.first_run(files)
    return client.run_after_denial(files, registers=plan.start == "denied, registers")


def check_transfer(style, transfer):
    """With one pretended mismatch or none, the right candidate comes before a client gives up."""
    f.require(transfer.verified or style.mismatches > 1, f"not confirmed: {transfer.answered}")


def converse(ports, plan):
    """Both runs of one client, and somebody who wants its name."""
    outcome = Outcome()
    try:
        client = f.FamilyClient(ports[plan.style.family.letter], plan.name, plan.style, key_number=len(plan.name))
        for run, files in ((functools.partial(start_run, client, plan), plan.first), (client.second_run, plan.second)):
            transfers = run({name: content_of(size, seed) for name, size, seed in files})
            outcome.conversations += 1
            for name, size, seed in files:
                check_transfer(plan.style, transfers[name])
                if transfers[name].verified:
                    outcome.newest[client.id, name] = size, seed
                    outcome.verified += 1
        f.FamilyClient(ports[plan.style.family.letter], plan.name, plan.style).find_name_taken()
        outcome.conversations += 1
    except Exception:  # Shown by the test.
        outcome.failures.append(f"{plan.style} ({plan.start}): {traceback.format_exc(limit=-2)}")
    return outcome


def converse_all(ports, plans):
    """What one worker process does; the keys are made before threads would each make their own."""
    for number in range(f.SPARE_KEYS):
        f.rsa_key(number)
    total = Outcome()
    with concurrent.futures.ThreadPoolExecutor(CONVERSATIONS_AT_ONCE) as pool:
        for outcome in pool.map(functools.partial(converse, ports), plans):
            total.add(outcome)
    return total


def file_styles(family):
    """Every way in which clients of the family send a file: parameters of `Style`."""
    if family.packets:
        for encryption, swapped, equal, whole in itertools.product(f.Encryption, *[(False, True)] * 3):
            yield {"encryption": encryption, "swapped_numbers": swapped, "equal_packets": equal,
                   "whole_original_size": whole}
        return
    for blocks in (False, True) if family.letter in "AB" else (False,):
        yield {"blocks": blocks}
        yield {"blocks": blocks, "content_size": f.ContentSize.OF_PLAINTEXT}
        yield {"blocks": blocks, "counting": f.Counting.NOT_COUNTED}
        yield {"blocks": blocks, "counting": f.Counting.CUT_AT_ZERO_BYTE}
    if family.letter == "B":
        for content_size, plaintext in itertools.product(f.ContentSize, BLOCK_PLAINTEXTS):
            yield {"blocks": True, "encrypted_blocks": True, "content_size": content_size,
                   "block_plaintext": plaintext}


def versions(family):
    """Header versions; version 1 with the codes that C and D share is always C."""
    return (2, 3) if family.letter == "D" else (1, 2, 3)


def starts(family):
    denied = () if family.reconnect is None else ("denied, registers", "denied, goes on")
    return "signs up", "signs up", *denied


def styles(family, choose):
    """File styles, checksums and connections in every combination; the rest by chance, but always the same."""
    for files, checksum, connections, notice in itertools.product(
            file_styles(family), f.Checksum, f.Connections, f.Notice):
        for version in versions(family) if family.letter == "C" else [choose(versions(family))]:
            yield f.Style(
                family, version=version, checksum=checksum, connections=connections, notice=notice,
                mismatches=choose((0, 0, 1, 2, 3, 4)),
                body_size=choose(BODY_SIZES) if family.packets else f.Style.body_size,
                key_form=choose(list(f.KeyForm)),
                key_payload=choose((f.KeyPayload.NAME_FIELD, f.KeyPayload.SHORT_NAME)),
                garbage_names=choose((False, True)), garbage_id=choose((False, True)), **files)


def plans_for(letter):
    """The conversations of one family, the same in every run of the test."""
    choose = random.Random(letter).choice
    family = f.FAMILIES[letter]
    for index, style in enumerate(styles(family, choose)):
        sizes = SIZES + (choose(LARGER_SIZES),) if index % 4 == 0 else SIZES
        first = tuple((b"dir\\file %d" % at, choose(sizes), choose(range(4))) for at in range(FILES_A_RUN))
        second = tuple((b"dir\\file %d" % at, choose(sizes), 4) for at in range(1, FILES_A_RUN + 1))
        yield Conversations(style, b"%s %d" % (letter.encode(), index), first, second, choose(starts(family)))


def extra_packet_plans(letter):
    """A packet too many, where its numbers cannot be taken for those of a first packet: behind two packets or more."""
    files = tuple((b"file %d" % size, size, 0) for size in (1024, 4000, 130538))
    for index, (encryption, connections) in enumerate(itertools.product(f.Encryption, f.Connections)):
        style = f.Style(f.FAMILIES[letter], encryption=encryption, connections=connections, body_size=1008,
                        extra_packet=True)
        yield Conversations(style, b"%s extra %d" % (letter.encode(), index), files, files)


def largest_plans(letter):
    """3 MiB in each file style."""
    family = f.FAMILIES[letter]
    for index, files in enumerate(file_styles(family)):
        style = f.Style(family, connections=list(f.Connections)[index % 3], body_size=BODY_SIZES[index % 3], **files)
        name = b"%s largest %d" % (letter.encode(), index)
        yield Conversations(style, name, ((b"f", LARGEST_SIZE, 0),), ((b"f", LARGEST_SIZE, 1),))


class FamiliesTest(unittest.TestCase):
    """Each test has a store of its own and both bridges in front of it."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.operations_port_file = pathlib.Path(directory.name) / "operations"
        self.cluster = Cluster(directory.name, bridge_flags=["--family_of_1025=C"], service_flags=[
            "--operations_listen=127.0.0.1:0", f"--operations_bound_port_file={self.operations_port_file}"])
        self.addCleanup(self.cluster.__exit__)
        second = pathlib.Path(directory.name) / "second"
        second.mkdir()
        bridge = Process("backup-bridge", ["--bind=127.0.0.1", "--port=0", "--family_of_1025=D",
                                           f"--service=127.0.0.1:{self.cluster.service_port}"], second)
        self.addCleanup(bridge.stop)
        self.ports = {letter: bridge.port if letter in "DE" else self.cluster.port for letter in f.FAMILIES}

    def play(self, plans):
        """All conversations, then a look into the store."""
        batches = list(batched(plans, BATCH))
        total = Outcome()
        with concurrent.futures.ProcessPoolExecutor(PROCESSES) as pool:
            for outcome in pool.map(functools.partial(converse_all, self.ports), batches):
                total.add(outcome)
        shown = "\n".join(total.failures[:SHOWN_FAILURES])
        clients = sum(len(batch) for batch in batches)
        self.assertEqual(total.failures, [], f"{len(total.failures)} of {clients} clients failed:\n{shown}")
        self.check_stored(total)

    def check_stored(self, total):
        """The newest confirmed contents, no more and no fewer; and nothing left that nobody decided on."""
        seen = exposition.scrape(int(self.operations_port_file.read_text()))
        self.assertEqual(seen.value("backup_versions", state="received"), 0)
        self.assertEqual(seen.value("backup_versions", state="verified"), total.verified)
        expected = collections.defaultdict(dict)
        for (client_id, name), (size, seed) in total.newest.items():
            expected[client_id][name_text(name)] = content_of(size, seed)
        restore = functools.partial(all_newest_verified, self.cluster.service)
        with concurrent.futures.ThreadPoolExecutor(RESTORES_AT_ONCE) as pool:
            for client_id, stored in zip(expected, pool.map(restore, expected)):
                self.assertTrue(stored == expected[client_id], f"{client_id.hex()}: {stored.keys()}")

    def test_family_a(self):
        self.play(plans_for("A"))

    def test_family_b(self):
        self.play(plans_for("B"))

    def test_family_c(self):
        self.play(plans_for("C"))

    def test_family_d(self):
        self.play(plans_for("D"))

    def test_family_e(self):
        self.play(plans_for("E"))

    def test_a_packet_too_many(self):
        self.play([*extra_packet_plans("D"), *extra_packet_plans("E")])

    def test_the_largest_files(self):
        self.play(itertools.chain.from_iterable(largest_plans(letter) for letter in f.FAMILIES))

    def test_candidates_come_in_their_order_and_the_right_one_is_remembered(self):
        for letter, kind in itertools.product("ABCDE", f.Checksum):
            with self.subTest(letter, kind=kind):
                style = f.Style(f.FAMILIES[letter], version=2, checksum=kind, notice=f.Notice.SENDS_AT_ONCE)
                client = f.FamilyClient(self.ports[letter], f"{letter} {kind}".encode(), style)
                first = client.first_run({b"f": content_of(4000, 0)})[b"f"]
                self.assertEqual(first.answered, [{each} for each in f.Checksum if each <= kind])
                second = client.second_run({b"f": content_of(4000, 1)})[b"f"]
                self.assertEqual(second.answered, [{kind}])

    def test_first_candidates(self):
        plaintext_size = {"content_size": f.ContentSize.OF_PLAINTEXT}
        for letter, version, files, kind in (("A", 3, {}, f.Checksum.CKSUM_PLAINTEXT),
                                             ("A", 3, plaintext_size, f.Checksum.CRC32_PLAINTEXT),
                                             ("B", 3, plaintext_size, f.Checksum.CKSUM_PLAINTEXT),
                                             ("C", 1, {}, f.Checksum.CRC32_CIPHERTEXT),
                                             ("C", 2, {}, f.Checksum.CKSUM_PLAINTEXT),
                                             ("E", 1, {}, f.Checksum.CKSUM_PLAINTEXT)):
            with self.subTest(letter, version=version, **files):
                style = f.Style(f.FAMILIES[letter], version=version, checksum=kind, **files)
                client = f.FamilyClient(self.ports[letter], f"{letter} {version} {len(files)}".encode(), style)
                self.assertEqual(client.first_run({b"f": content_of(4000, 0)})[b"f"].answered, [{kind}])

    def test_a_key_with_nothing_before_it(self):
        for letter, family in f.FAMILIES.items():
            with self.subTest(letter):
                style = f.Style(family, key_payload=f.KeyPayload.NOTHING)
                f.FamilyClient(self.ports[letter], letter.encode(), style).first_run({b"f": b"content"})


def batched(items, size):
    """Tuples of up to `size` items."""
    iterator = iter(items)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch


class Recording:
    """A recorded conversation, played to a model client: its messages must be the recorded ones, byte for byte."""

    def __init__(self, text):
        self.key = RSA.import_key(bytes.fromhex(re.search(r"RSA private key[^:]*: ([0-9a-f]+)", text).group(1)))
        self.contents = {name.encode(): bytes.fromhex(content) for name, content in
                         re.findall(r"^# plaintext file (\S+) hex: ([0-9a-f]*)", text, re.M)}
        self.lines = [line for line in text.splitlines() if line[:2] in ("C>", "S>", "##")]
        self.client = None
        self.echo = b""

    def play(self, style):
        """Both runs: with the first file and with the last."""
        registration = bytes.fromhex(self.lines[1][3:])
        self.client = RecordedClient(0, registration[23:].split(b"\0")[0], style, connect=self.connect)
        self.client.registration_id = registration[:16]
        self.client.fields[self.client.name] = registration[23:]
        self.client.rsa = self.key
        self.adopt_file_names()
        names = list(self.contents)
        transfers = {**self.client.first_run({names[0]: self.contents[names[0]]}),
                     **self.client.second_run({names[-1]: self.contents[names[-1]]})}
        f.require(all(transfer.answered == [{style.checksum}] for transfer in transfers.values()), transfers)
        f.require(self.lines == [], "the recording goes on")

    def adopt_file_names(self):
        """What is behind a name's NUL was chance in the real client, too."""
        family = self.client.family
        at = f.REQUEST.size + (f.PACKET.size if family.packets else 4) + (16 if family.id_in_front else 0)
        for message in (bytes.fromhex(line[3:]) for line in self.lines if line.startswith("C>")):
            if f.REQUEST.unpack_from(message)[2] == family.file:
                field = message[at:at + f.NAME_SIZE]
                self.client.fields[field.split(b"\0")[0]] = field

    def take(self, mark):
        line = self.lines.pop(0)
        f.require(line.startswith(mark), f"the recording goes on with {line[:40]}, not {mark}")
        return line[2:].strip()

    def connect(self):
        self.take("##")
        return self

    def send(self, data):
        family = self.client.family
        size_at = f.REQUEST.size + (16 if family.id_in_front else 0)
        name_at = size_at + (f.PACKET.size if family.packets else 4)
        self.echo = data[size_at:size_at + 4] + data[name_at:name_at + f.NAME_SIZE]
        while data:
            message = bytes.fromhex(self.take("C>"))
            f.require(data.startswith(message), f"sent {data[:len(message)].hex()}, recorded {message.hex()}")
            data = data[len(message):]

    def receive(self):
        """The recorded answer, but as the protocol's page wants it where the original server differs."""
        _, code, _ = f.ANSWER.unpack_from(data := bytes.fromhex(self.take("S>")))
        payload = data[f.ANSWER.size:]
        if code == self.client.family.base + f.ACKNOWLEDGED:
            payload = self.client.id
        if code == self.client.family.base + f.FILE_RECEIVED:
            payload = payload[:16] + self.echo + payload[275:]
        return f.ANSWER.pack(3, code, len(payload)) + payload

    def require_silence(self):
        f.require(not self.lines or self.lines[0].startswith("##"), "the recorded connection goes on")

    def close(self):
        """Connections end where the recording says."""


class RecordedClient(f.FamilyClient):
    """The original servers' ids and keys may have the bytes that ours must not have."""

    def _take_id(self, client_id):
        self.id = client_id

    def _take_key(self, payload):
        self.aes_key = f.PKCS1_OAEP.new(self.rsa).decrypt(payload[16:])


class RecordingsTest(unittest.TestCase):
    """The model clients say what the recorded real ones said, and take what those took."""

    STYLES = {
        "a1": f.Style(f.FAMILIES["A"], counting=f.Counting.CUT_AT_ZERO_BYTE),
        "b1": f.Style(f.FAMILIES["B"]),
        "c1": f.Style(f.FAMILIES["C"], version=1, checksum=f.Checksum.CRC32_CIPHERTEXT,
                      connections=f.Connections.ONE_PER_REQUEST),
        "c2": f.Style(f.FAMILIES["C"]),
        "c3": f.Style(f.FAMILIES["C"], counting=f.Counting.NOT_COUNTED),
        "d1": f.Style(f.FAMILIES["D"], body_size=4016, whole_original_size=False),
        "e1": f.Style(f.FAMILIES["E"], encryption=f.Encryption.ONE_STREAM),
        "e2": f.Style(f.FAMILIES["E"], body_size=1040, swapped_numbers=True),
    }

    def test_recordings(self):
        for name, style in self.STYLES.items():
            with self.subTest(name):
                Recording((ROOT / "tests" / "testdata" / "wire" / f"{name}.txt").read_text()).play(style)


if __name__ == "__main__":
    unittest.main()
