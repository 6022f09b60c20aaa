"""Model clients of all built-in dialects, in every style, against the service and two bridges: one takes 1025 for family C,
one for family D. What was confirmed must be in the store when the conversations are over."""

import itertools
import random
import unittest

import dialect_client as f
from conversations import Conversations, ConversationTest, content_of, plans_of
from dialect_styles import file_styles, key_payloads, styles
from exposition import scrape
from recordings import STYLES, Transcript

LARGEST_SIZE = 3 << 20
BODY_SIZES = (1008, 4096, 65536)


def plans_for(letter):
    """The conversations of one family, the same in every run of the test."""
    choose = random.Random(letter).choice
    return plans_of(styles(f.FAMILIES[letter], choose), choose)


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


class FamiliesTest(ConversationTest):
    def setUp(self):
        super().setUp()
        self.bridge_operations = [self.folder / name for name in ("first_operations", "second_operations")]
        first, second = (["--operations_listen=127.0.0.1:0", f"--operations_bound_port_file={path}"] for path in self.bridge_operations)
        self.start_cluster("--family_of_1025=C", *first)
        second = self.start_second_bridge("--family_of_1025=D", *second)
        self.ports = {letter: second.port if letter in ("D", "E") else self.cluster.port for letter in f.FAMILIES}

    def tearDown(self):
        """Whatever the clients did, none of it is what earns a ban."""
        for path in self.bridge_operations:
            self.assertEqual(scrape(int(path.read_text())).value("backup_bridge_offences_total"), 0)

    def test_family_a(self):
        self.play(self.ports, plans_for("A"))

    def test_family_b(self):
        self.play(self.ports, plans_for("B"))

    def test_family_c(self):
        self.play(self.ports, plans_for("C"))

    def test_family_d(self):
        self.play(self.ports, plans_for("D"))

    def test_family_e(self):
        self.play(self.ports, plans_for("E"))

    def test_others(self):
        self.play(self.ports, itertools.chain.from_iterable(plans_for(name) for name in f.FAMILIES if name not in "ABCDE"))

    def test_a_packet_too_many(self):
        self.play(self.ports, [*extra_packet_plans("D"), *extra_packet_plans("E")])

    def test_the_largest_files(self):
        self.play(self.ports, itertools.chain.from_iterable(largest_plans(letter) for letter in f.FAMILIES))

    def test_candidates_come_in_their_order_and_the_right_one_is_remembered(self):
        for letter, kind in itertools.product("ABCDE", f.Checksum):
            with self.subTest(letter, kind=kind):
                style = f.Style(f.FAMILIES[letter], version=2, checksum=kind, notice=f.Notice.SENDS_AT_ONCE)
                client = f.DialectClient(self.ports[letter], f"{letter} {kind}".encode(), style)
                first = client.first_run({b"f": content_of(4000, 0)})[b"f"]
                self.assertEqual(first.answered, [{each} for each in f.Checksum if each <= kind])
                second = client.second_run({b"f": content_of(4000, 1)})[b"f"]
                self.assertEqual(second.answered, [{kind}])

    def test_first_candidates(self):
        plaintext_size = {"content_size": f.ContentSize.OF_PLAINTEXT}
        for letter, version, files, kind in (("A", 3, {}, f.Checksum.CKSUM_OF_PLAINTEXT),
                                             ("A", 3, plaintext_size, f.Checksum.CRC32_OF_PLAINTEXT),
                                             ("B", 3, plaintext_size, f.Checksum.CKSUM_OF_PLAINTEXT),
                                             ("C", 1, {}, f.Checksum.CRC32_OF_CIPHERTEXT),
                                             ("C", 2, {}, f.Checksum.CKSUM_OF_PLAINTEXT),
                                             ("E", 1, {}, f.Checksum.CKSUM_OF_PLAINTEXT)):
            with self.subTest(letter, version=version, **files):
                style = f.Style(f.FAMILIES[letter], version=version, checksum=kind, **files)
                client = f.DialectClient(self.ports[letter], f"{letter} {version} {len(files)}".encode(), style)
                self.assertEqual(client.first_run({b"f": content_of(4000, 0)})[b"f"].answered, [{kind}])

    def test_a_key_with_nothing_before_it(self):
        for letter, family in f.FAMILIES.items():
            if f.KeyPayload.SHORT_NAME not in key_payloads(family):
                continue
            with self.subTest(letter):
                style = f.Style(family, key_payload=f.KeyPayload.NOTHING)
                f.DialectClient(self.ports[letter], letter.encode(), style).first_run({b"f": b"content"})


class Recording(Transcript):
    """A recorded conversation, played to a model client: its messages must be the recorded ones, byte for byte."""

    client = None
    echo = {}

    def play(self):
        """Both runs: with the first file and with the last."""
        registration, names = self.lines[1][1], list(self.contents)
        places = self.places(registration)
        self.client = RecordedClient(self, places[False, "CLIENT_NAME"].of(registration).split(b"\0")[0])
        self.client.registration_id = places[True, "CLIENT_ID"].of(registration)
        transfers = {**self.client.first_run({names[0]: self.contents[names[0]]}),
                     **self.client.second_run({names[-1]: self.contents[names[-1]]})}
        f.require(all(transfer.answered == [{self.style.checksum}] for transfer in transfers.values()), transfers)
        f.require(self.lines == [], "the recording goes on")

    def next_message(self):
        """What the client is about to say."""
        return next(message for mark, message in self.lines if mark == "C>")

    def take(self, expected):
        mark, message = self.lines.pop(0)
        f.require(mark == expected, f"the recording goes on with {mark} {message[:40].hex()}, not {expected}")
        return message

    def connect(self):
        self.take("##")
        return self

    def send(self, data):
        dialect, places = self.client.dialect, self.places(data)
        self.echo = {kind: place.of(data) for (in_header, kind), place in places.items() if not in_header}
        while data:
            recorded = self.take("C>")
            sent, data = data[:len(recorded)], data[len(recorded):]
            recorded = self.without_chance(recorded, sent)
            f.require(sent == recorded, f"sent {sent.hex()}, recorded {recorded.hex()}")

    def without_chance(self, recorded, sent):
        """The recorded message, but what was chance in the real client, and means nothing, is as it was sent."""
        places, dialect = self.places(recorded), self.client.dialect
        chance = [(place.begin, place.end) for (_, kind), place in places.items() if kind == "FILL"]
        if self.client.style.padded[0] and dialect.kind_of(recorded) != "FILE":
            chance.append((self.head_size(recorded), len(recorded)))
        for begin, end in chance:
            recorded = recorded[:begin] + sent[begin:end] + recorded[end:]
        return recorded

    def receive(self):
        """The recorded answer, but as the protocol's page wants it where the original server differs."""
        data, dialect = self.take("S>"), self.client.dialect
        answer, recorded = dialect.split_answer(data)
        if answer.kind == "ACKNOWLEDGED":
            recorded["CLIENT_ID"] = self.client.id
        if answer.kind == "FILE_RECEIVED":
            recorded |= {kind: self.echo[kind] for kind in ("CONTENT_SIZE", "FILE_NAME")}
        data = dialect.join_answer(answer, recorded)
        return dialect.filled_up(data) if self.client.style.padded[1] else data

    def require_silence(self):
        f.require(not self.lines or self.lines[0][0] == "##", "the recorded connection goes on")

    def require_end(self):
        self.require_silence()

    def close(self):
        """Connections end where the recording says."""


class RecordedClient(f.DialectClient):
    """The original servers' ids and keys may have the bytes that ours must not have; what was chance in the real client is
    as it was recorded."""

    def __init__(self, recording, name):
        super().__init__(0, name, recording.style, connect=recording.connect)
        self.recording = recording
        self.rsa = recording.rsa

    def name_field(self, request, field, name):
        place = self.dialect.places(request, self.family.id_in_front)[False, field.kind]
        recorded = place.of(self.recording.next_message())
        f.require(recorded.split(b"\0")[0] == name, f"{name} is recorded as {recorded}")
        return recorded

    def initial_vector(self):
        if not self._vector_size:
            return super().initial_vector()
        message = self.recording.next_message()
        return message[self.recording.head_size(message):][:16]

    def check_id(self, client_id):
        pass

    def check_key(self, key):
        pass


class RecordingsTest(unittest.TestCase):
    """The model clients say what the recorded real ones said, and take what those took."""

    def test_recordings(self):
        for name in STYLES:
            with self.subTest(name):
                Recording(name).play()


if __name__ == "__main__":
    unittest.main()
