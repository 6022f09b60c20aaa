"""Dialects as data: all of them on one port, some that only tests speak and that are given as files, and what is about one
client's dialect. What was confirmed must be in the store when the conversations are over."""

import concurrent.futures
import functools
import itertools
import json
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import unittest

import dialect_client as c
import exposition
from client_trace import start_trace
from cluster import BIN_DIR
from conversations import ConversationTest, check_transfer, content_of, plans_of
from dialect_codec import BUILT_IN, built_in, load
from dialect_styles import styles
from stored_files import backupctl, client_text, newest_verified

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "testdata" / "dialects"
FILES = sorted(FOLDER.glob("*.textproto"))
FLAG = "--dialect_file=" + ",".join(map(str, FILES))
WAIT_S = 60
OK, USAGE, BAD_CONFIGURATION = 0, 2, 10

VERSION_FIRST, AS_TEXT, BY_NAME, LAST_SHORTER = (
    load(FOLDER / f"{name}.textproto") for name in ("version-first", "as-text", "by-name", "last-shorter"))
DESCRIBED = [c.Family("version-first", VERSION_FIRST), c.Family("as-text", AS_TEXT),
             c.Family("as-text/id", AS_TEXT, id_in_front=True), c.Family("by-name", BY_NAME), c.Family("last-shorter", LAST_SHORTER)]
BLOCKS = c.Style(c.FAMILIES["B"], blocks=True, encrypted_blocks=True, notice=c.Notice.HANGS_UP)


class DescribedTest(ConversationTest):
    """Dialects that nothing but their file knows."""

    def test_every_style(self):
        self.start_cluster(FLAG)
        choose = random.Random(1).choice
        plans = (plans_of(styles(family, choose), choose) for family in DESCRIBED)
        self.play({family.name: self.cluster.port for family in DESCRIBED}, itertools.chain.from_iterable(plans))


class OnePortTest(ConversationTest):
    def test_all_dialects_at_once(self):
        """Clients of every dialect in random order, their messages cut at random; those of D have been at their own port."""
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")
        chance = random.Random(seed)
        operations = self.folder / "bridge operations"
        self.start_cluster(FLAG, "--family_of_1025=C", "--operations_listen=127.0.0.1:0",
                           f"--operations_bound_port_file={operations}")
        second = self.start_second_bridge("--family_of_1025=D")
        clients = [self.client_of(family, number, chance) for family in (*c.FAMILIES.values(), *DESCRIBED) for number in range(4)]
        for client in clients:
            if client.family.name == "D":
                client.port = second.port
                client.first_run({b"first": b"content"})
        chance.shuffle(clients)
        with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
            for failure in pool.map(self.converse, clients):
                self.assertIsNone(failure)
        seen = exposition.scrape(int(operations.read_text()))
        for label in (*"ABCDE", *(family.dialect.label("FILE", family.id_in_front) for family in DESCRIBED)):
            with self.subTest(label):
                self.assertGreater(seen.value("backup_bridge_requests_total", dialect=label), 0)

    def client_of(self, family, number, chance):
        style = chance.choice(list(styles(family, chance.choice)))
        return CuttingClient(self.cluster.port, b"%s %d" % (family.name.encode(), number), style, chance.randrange(1 << 32))

    def converse(self, client):
        """None, or what went wrong."""
        try:
            client.port = self.cluster.port
            files = {b"a": content_of(3000, client.seed), b"b": content_of(17, client.seed)}
            transfers = (client.second_run if client.aes_key else client.first_run)(files)
            again = {b"a": content_of(1025, client.seed), b"b": content_of(0, client.seed)}
            for transfer in transfers.values():
                check_transfer(client.style, transfer)
            for name, transfer in client.second_run(again).items():
                check_transfer(client.style, transfer)
                stored = newest_verified(self.cluster.service, client.id, name)
                c.require(not transfer.verified or stored == client.as_stored(again[name]), f"{name} is not stored")
            shown = json.loads(backupctl(self.cluster.service, "--json", "client", "show", client_text(client.id)))
            label = client.dialect.label("FILE", client.family.id_in_front)
            c.require(shown["legacy_profile"]["family"] == label, f"{shown['legacy_profile']} is not of {label}")
        except Exception as error:  # Of any thread, told by the test.
            return f"{client.style}: {error!r}"
        return None


class CuttingClient(c.DialectClient):
    """Its messages come in pieces; not if it may pad them, which shows by what comes at once."""

    def __init__(self, port, name, style, seed):
        super().__init__(port, name, style, connect=self.connect)
        self.port, self.seed = port, seed
        self._chance = random.Random(seed)

    def connect(self):
        connection = c.Connection(self.port)
        if not self.style.padded[0]:
            send = connection.send
            connection.send = lambda data: [send(data[begin:end]) for begin, end in self.cuts(len(data))]
        return connection

    def cuts(self, size):
        places = sorted({0, size, *(self._chance.randrange(size) for _ in range(self._chance.randrange(4)))})
        return zip(places, places[1:])


class LateClient(c.DialectClient):
    """Its retry notice comes on a connection of its own; if it is late, after the first message of the next upload."""

    def __init__(self, port, name):
        super().__init__(port, name, BLOCKS, connect=self.connect)
        self.port = port
        self.late_notice = None

    def connect(self):
        connection = c.Connection(self.port)
        connection.send = functools.partial(self.send, connection.send)
        return connection

    def send(self, send, data):
        first = self.dialect.padding.multiple_of
        send(data[:first])
        name, self.late_notice = self.late_notice, None
        if name:
            self.announce_retry(name)
        send(data[first:])


class VerdictTest(ConversationTest):
    """A retry notice on a connection of its own, which nobody reads, while the next upload begins."""

    ROUNDS = 20
    CLIENTS = 4
    # Those of one message may have been answered before a late notice is sent.
    LARGER_SIZES = (721, 3000, 20000)
    SIZES = (100, 720, *LARGER_SIZES)

    def test_it_hits_the_upload_that_it_is_about(self):
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")
        self.start_cluster()
        clients = [LateClient(self.cluster.port, b"blocks %d" % number) for number in range(self.CLIENTS)]
        with concurrent.futures.ThreadPoolExecutor(self.CLIENTS) as pool:
            list(pool.map(self.rounds, clients, (random.Random(seed + number) for number in range(self.CLIENTS))))
        self.assertEqual(self.versions_stored("received"), 0)
        self.assertEqual(self.versions_stored("verified"), self.CLIENTS * self.ROUNDS)

    def rounds(self, client, chance):
        client.sign_up()
        for number in range(self.ROUNDS):
            is_late = number % 3 == 0
            wrong = content_of(chance.choice(self.SIZES), (number, "wrong"))
            right = content_of(chance.choice(self.LARGER_SIZES if is_late else self.SIZES), (number, "right"))
            client.send_file(b"f", wrong)
            if is_late:
                client.late_notice = b"f"
            else:
                client.announce_retry(b"f")
            client.send_file(b"f", right)
            client.confirm(b"f")
            self.assertEqual(newest_verified(self.cluster.service, client.id, b"f"), right)


class KeysTest(ConversationTest):
    def test_a_client_of_family_d_that_met_a_bridge_of_c_gets_a_key_of_its_size(self):
        self.start_cluster("--family_of_1025=C")
        second = self.start_second_bridge("--family_of_1025=D")
        stuck = c.DialectClient(self.cluster.port, b"stuck", c.Style(c.FAMILIES["C"]))
        stuck.sign_up()
        client = c.DialectClient(second.port, b"stuck", c.Style(c.FAMILIES["D"]))
        client.id, client.rsa = stuck.id, stuck.rsa
        client.second_run({b"f": b"content"})
        self.assertEqual(newest_verified(self.cluster.service, client.id, b"f"), b"content")
        key = client.aes_key
        client.second_run({b"f": b"newer"})
        self.assertEqual(client.aes_key, key)
        self.cluster.service.wait_for_log("a reconnect changed the size of a session key from 128 to 256 bits")


class LegacyClientTest(ConversationTest):
    """legacy-client plays every described client, by an interpreter of its own."""

    CONTENTS = {b"empty": b"", b"one": b"1", b"block": bytes(range(16)), b"notes.txt": b"notes\n" * 600,
                b"large.bin": os.urandom(1 << 20)}

    def test_every_file_is_played(self):
        self.start_cluster(FLAG, "--family_of_1025=C")
        second = self.start_second_bridge("--family_of_1025=D")
        paths = [*FILES, *sorted(BUILT_IN.glob("*.textproto"))]
        for path in paths:
            with self.subTest(path.stem):
                port = second.port if path.stem == "d" else self.cluster.port
                self.check(path, self.client_folder(path.stem, port))

    def client_folder(self, name, port):
        folder = self.folder / f"client {name}"
        folder.mkdir()
        for file, content in self.CONTENTS.items():
            (folder / file.decode()).write_bytes(content)
        (folder / "transfer.info").write_text("\n".join([f"127.0.0.1:{port}", name, *map(bytes.decode, self.CONTENTS), ""]))
        return folder

    def run_client(self, path, folder):
        done = subprocess.run([BIN_DIR / "legacy-client", f"--dialect_file={path}", f"--dir={folder}", "--json"],
                              capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, OK, done.stdout + done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def check(self, path, folder):
        """A first run, then one that comes back with its identity and needs no second try."""
        self.run_client(path, folder)
        identity = (folder / "me.info").read_text()
        self.assertEqual([line["tries"] for line in self.run_client(path, folder)], [1] * len(self.CONTENTS))
        self.assertEqual((folder / "me.info").read_text(), identity)
        model = c.DialectClient(0, b"", c.Style(c.Family(path.stem, load(path))))
        for name, content in self.CONTENTS.items():
            stored = newest_verified(self.cluster.service, bytes.fromhex(identity.splitlines()[1]), name)
            self.assertEqual(stored, model.as_stored(content))


class TraceTest(ConversationTest):
    def test_it_names_the_dialect_by_its_file(self):
        self.start_cluster(FLAG)
        client = c.DialectClient(self.cluster.port, b"watched", c.Style(DESCRIBED[0]))
        client.sign_up()
        trace = start_trace(self, self.cluster.service_port, "--client=watched")
        client.back_up(b"f", b"content")
        self.assertIn("file dialect=version-first version=7 code=13 name=f", trace.stdout.readline())
        trace.send_signal(signal.SIGINT)
        self.assertEqual(trace.wait(timeout=WAIT_S), 128 + signal.SIGINT)


class FlagsTest(unittest.TestCase):
    DAMAGED_FILES = 25

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def bridge(self, *flags, code=OK):
        done = subprocess.run([BIN_DIR / "backup-bridge", *flags], capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def refused(self, name, text):
        """The line that says what is wrong with a dialect of that text."""
        path = self.folder / f"{name}.textproto"
        path.write_text(text)
        error = self.bridge(f"--dialect_file={path}", "--check_config", code=BAD_CONFIGURATION).stderr
        self.assertRegex(error, r"\A.*cannot start: .*\n\Z")
        return error.replace(str(path), path.name)

    def test_print_dialect(self):
        for path in BUILT_IN.glob("*.textproto"):
            self.assertEqual(self.bridge(f"--print_dialect={load(path).name}").stdout, path.read_text())
        self.assertEqual(self.bridge(FLAG, "--print_dialect=as-text").stdout, (FOLDER / "as-text.textproto").read_text())
        error = self.bridge("--print_dialect=F", code=USAGE).stderr
        for name in built_in():
            self.assertIn(name, error)

    def test_what_is_right_is_taken(self):
        self.bridge(FLAG, "--check_config")
        for path in FILES:
            self.bridge(f"--dialect_file={path}", "--check_config")

    def test_what_is_no_dialect_is_refused(self):
        self.assertIn("x.textproto:1: ", self.refused("x", ""))
        self.assertIn("x.textproto:1: ", self.refused("x", "\0\1\2"))
        self.assertIn("x.textproto:2: ", self.refused("x", 'name: "x"\nno_such_field: 1\n'))
        self.assertRegex(self.refused("x", "#" * ((1 << 20) + 1)), r"x\.textproto.*1048576")
        for path in (self.folder, self.folder / "missing.textproto", "/dev/null"):
            error = self.bridge(f"--dialect_file={path}", "--check_config", code=BAD_CONFIGURATION).stderr
            self.assertIn(str(path), error)
        twice = f"--dialect_file={FILES[0]},{FILES[0]}"
        self.assertIn("already", self.bridge(twice, "--check_config", code=BAD_CONFIGURATION).stderr)

    def changed(self, old, new, name="by-name", count=1):
        """A right description with something wrong in it; where, and what is said about it."""
        text = (FOLDER / f"{name}.textproto").read_text()
        self.assertIn(old, text)
        return text[:text.index(old)].count("\n") + 1, self.refused(name, text.replace(old, new, count))

    def test_contradictions_are_refused_with_file_line_and_reason(self):
        for old, new, reason in (
                ("codes: 3001", "codes: 3000", "code 3000 means two things"),
                ("kind: CODE width: 2", "kind: CODE width: 3", "1, 2, 4 or 8"),
                ("kind: CLIENT_ID width: 16", "kind: CLIENT_ID width: 15", "CLIENT_ID"),
                ("session_key_bits: 128", "session_key_bits: 192", "128 or 256"),
                ("length: BY_PAYLOAD_SIZE", "", "length"),
                ("kind: CLIENT_NAME width: 80", "kind: CHECKSUM width: 4", "CHECKSUM"),
                ("kind: SESSION_KEY width: 128", "kind: SESSION_KEY width: 100", "SESSION_KEY"),
                ("fill: 32", "fill: 256", "fill"),
                ('name: "by-name"', 'name: "by name"', "name"),
                ("content_size_counts: CIPHERTEXT ", "content_size_counts: CIPHERTEXT encrypted_piece_size: 24 ", "multiple of 16"),
        ):
            with self.subTest(new):
                line, error = self.changed(old, new)
                self.assertIn(f"by-name.textproto:{line}: ", error)
                self.assertIn(reason, error)
        # Told where the second one is, not where the first one was changed.
        self.assertIn("two requests are VALID", self.changed("kind: ABORT", "kind: VALID")[1])
        self.assertIn("does not fit", self.changed("kind: CODE width: 2", "kind: CODE width: 1")[1])

    def test_sizes_without_a_limit_are_refused(self):
        for old, new in (("max_width: 400 ", ""), ("max_width: 400 ", "max_width: 4294967295 "),
                         ("kind: CLIENT_NAME width: 120", "kind: CLIENT_NAME"),
                         ("kind: CLIENT_NAME width: 120", "kind: CLIENT_NAME width: 4294967295")):
            with self.subTest(new):
                line, error = self.changed(old, new, name="as-text")
                self.assertIn(f"as-text.textproto:{line}: ", error)

    def test_ambiguities_are_refused(self):
        like_c = (BUILT_IN / "c.textproto").read_text().replace('name: "C"', 'name: "like-c"')
        other = like_c.replace("code: 2104", "code: 2204")
        error = self.refused("like-c", other)
        self.assertRegex(error, r"like-c\.textproto:\d+: .*\bC\b.*same_requests_as")
        self.assertNotIn(" in C)", self.refused("like-c", other + recognized_as("C")))  # But D is left.
        self.bridge("--check_config", f"--dialect_file={self.saved('like-c', other + recognized_as('C', 'D'))}")
        self.assertIn("NOBODY", self.refused("like-c", other + recognized_as("NOBODY")))

    def test_damaged_files_are_refused_or_harmless(self):
        """Words of descriptions at random places of one another."""
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")
        chance = random.Random(seed)
        texts = [path.read_text() for path in (*FILES, *BUILT_IN.glob("*.textproto"))]
        words = sorted({word for text in texts for word in text.split()} | {"-1", "4294967295", "}", "{", "18446744073709551615"})
        for _ in range(self.DAMAGED_FILES):
            text = chance.choice(texts).split(" ")
            for _ in range(chance.choice((1, 1, 2, 5))):
                text[chance.randrange(len(text))] = chance.choice(words)
            done = subprocess.run([BIN_DIR / "backup-bridge", "--check_config",
                                   f"--dialect_file={self.saved('x', ' '.join(text))}"], capture_output=True, timeout=WAIT_S)
            self.assertIn(done.returncode, (OK, BAD_CONFIGURATION), " ".join(text))

    def saved(self, name, text):
        path = self.folder / f"{name}.textproto"
        path.write_text(text)
        return path


def recognized_as(*names):
    return "\nrecognition { " + " ".join(f'same_requests_as: "{name}"' for name in names) + " }\n"


if __name__ == "__main__":
    unittest.main()
