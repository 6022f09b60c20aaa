"""legacy-client as clients of every family and in every style, against both real processes."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from cluster import BIN_DIR, Cluster
from stored_files import all_newest_verified

WAIT_S = 60
OK, USAGE = 0, 2
# The payload size of "cut", cut at its first zero byte, is less than a file request has without any content.
FILES = {"empty": b"", "one": b"1", "block": bytes(16), "notes.txt": b"notes" * 600, "cut": os.urandom(65279),
         "large.bin": os.urandom(3 << 20)}
CHECKSUMS = ("cksum-plaintext", "cksum-ciphertext", "crc32-plaintext", "crc32-ciphertext")
MAX_TRIES = 5

WHOLE_FILE_STYLES = (
    ["--file_style=counted"],
    ["--file_style=counted", "--content_size=plaintext"],
    ["--file_style=uncounted"],
    ["--file_style=truncated"],
    ["--connection=per-request"],
    ["--public_key=spki-padded"],
    ["--public_key=pkcs1"],
)
PACKET_STYLES = (
    ["--file_style=chunks"],
    ["--file_style=chunks", "--packet_size=1000"],
    ["--file_style=chunks", "--packet_size=1000", "--original_size=packet"],
    ["--file_style=chunks", "--packet_size=1000", "--content_size=plaintext"],
    ["--file_style=chunks", "--packet_size=1024", "--swap_packet_fields"],
    ["--file_style=chunks", "--packet_size=1024", "--pad_packets", "--extra_packet"],
    ["--file_style=stream"],
    ["--file_style=stream", "--packet_size=1000"],
    ["--file_style=stream", "--packet_size=4096", "--swap_packet_fields"],
    ["--file_style=stream", "--packet_size=4096", "--pad_packets", "--extra_packet"],
    ["--file_style=stream", "--packet_size=4096", "--connection=per-request"],
    ["--public_key=pkcs1"],
)
BLOCK_STYLES = (
    ["--blocks_1024"],
    ["--blocks_1024", "--header_version=2"],
)
FILE_IN_BLOCKS_STYLES = (
    ["--blocks_1024", "--file_style=blocks"],
    ["--blocks_1024", "--file_style=blocks", "--header_version=2"],
)
STYLES = {"A": WHOLE_FILE_STYLES + BLOCK_STYLES,
          "B": WHOLE_FILE_STYLES + BLOCK_STYLES + FILE_IN_BLOCKS_STYLES, "C": WHOLE_FILE_STYLES,
          "D": PACKET_STYLES, "E": PACKET_STYLES}


class LegacyClientFamiliesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def start(self, family):
        # C and D cannot be told apart at registration: the port decides.
        flags = ["--family_of_1025=D"] if family == "D" else []
        self.cluster = Cluster(self.folder, bridge_flags=flags)
        self.addCleanup(self.cluster.__exit__)

    def client_folder(self, name):
        folder = self.folder / name
        folder.mkdir()
        for file, content in FILES.items():
            (folder / file).write_bytes(content)
        (folder / "transfer.info").write_text("\n".join([f"127.0.0.1:{self.cluster.port}", name, *FILES, ""]))
        return folder

    def run_client(self, folder, *flags, code=OK):
        done = subprocess.run([BIN_DIR / "legacy-client", f"--dir={folder}", "--json", *flags],
                              capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def check_twice(self, folder, *flags):
        """A first run, then one that comes back with its identity and needs no second try."""
        self.run_client(folder, f"--tries={MAX_TRIES}", *flags)
        identity = (folder / "me.info").read_text()
        again = self.run_client(folder, f"--tries={MAX_TRIES}", *flags)
        self.assertEqual([line["tries"] for line in again], [1] * len(FILES))
        self.assertEqual((folder / "me.info").read_text(), identity)
        return bytes.fromhex(identity.splitlines()[1])

    def check_styles(self, family):
        self.start(family)
        styles, ids = STYLES[family], {}
        for number, style in enumerate(styles):
            with self.subTest(family=family, style=style):
                folder = self.client_folder(f"{family} {number}")
                ids[number] = self.check_twice(folder, f"--family={family}", *style)
        for number, client_id in ids.items():
            with self.subTest(family=family, style=styles[number]):
                self.assertEqual(all_newest_verified(self.cluster.service, client_id), FILES)

    def test_family_a(self):
        self.check_styles("A")

    def test_family_b(self):
        self.check_styles("B")

    def test_family_c(self):
        self.check_styles("C")

    def test_family_d(self):
        self.check_styles("D")

    def test_family_e(self):
        self.check_styles("E")

    def check_checksums(self, family):
        self.start(family)
        for checksum in CHECKSUMS:
            for notice in ("at-once", "wait"):
                with self.subTest(family=family, checksum=checksum, notice=notice):
                    folder = self.client_folder(f"{family} {checksum} {notice}")
                    self.check_twice(folder, f"--family={family}", f"--checksum={checksum}",
                                     f"--retry_notice={notice}")

    def test_every_checksum_is_found_by_retries_and_remembered(self):
        self.check_checksums("B")

    def test_every_checksum_is_found_by_retries_and_remembered_with_packets(self):
        self.check_checksums("E")


class UsageTest(unittest.TestCase):
    def test_flags_that_contradict_each_other(self):
        for flags in (["--family=F"], ["--family=D", "--file_style=counted"], ["--family=A", "--file_style=stream"],
                      ["--packet_size=1000"], ["--family=C", "--blocks_1024"], ["--family=D", "--header_version=1"],
                      ["--file_style=uncounted", "--content_size=plaintext"], ["--tries=0"], ["--tries=6"],
                      ["--family=A", "--blocks_1024", "--connection=single"], ["--header_version=256"],
                      ["--header_version=new"], ["--public_key=pem"], ["--family=E", "--packet_size=-1"], ["--dialect=f9"],
                      ["--dialect=b3", "--family=B"], ["--dialect=a2", "--header_version=3"],
                      ["--family=B", "--blocks_1024", "--file_style=blocks", "--content_size=plaintext"]):
            with self.subTest(flags):
                done = subprocess.run([BIN_DIR / "legacy-client", *flags], capture_output=True, text=True, timeout=WAIT_S)
                self.assertEqual(done.returncode, USAGE, done.stdout + done.stderr)
                self.assertIn("--", done.stderr.splitlines()[0])

    def test_mistakes_in_a_dialect_file_have_their_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "x.textproto")
            for text, wrong in (('name: "x"\nbyte_order: MIDDLE\n', f"{path}:2: "), ('name: "x"\n', f"{path}:1: "), (None, "cannot read")):
                with self.subTest(text):
                    path.unlink(missing_ok=True)
                    if text is not None:
                        path.write_text(text)
                    done = subprocess.run([BIN_DIR / "legacy-client", f"--dialect_file={path}"], capture_output=True, text=True,
                                          timeout=WAIT_S)
                    self.assertEqual(done.returncode, USAGE, done.stdout + done.stderr)
                    self.assertIn(wrong, done.stderr)


if __name__ == "__main__":
    unittest.main()
