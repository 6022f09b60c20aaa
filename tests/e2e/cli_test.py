"""legacy-client and backupctl as an operator uses them, against both real processes."""

import json
import os
import pathlib
import pty
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import model_client as m
from cluster import BIN_DIR, Cluster

WAIT_S = 60
OK, FAILED, USAGE, PARTIAL, NO_SUCH, DAMAGED, UNREACHABLE = 0, 1, 2, 3, 10, 14, 15


class CliTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def start(self, **flags):
        self.cluster = Cluster(self.folder, **flags)
        self.addCleanup(self.cluster.__exit__)

    def run_program(self, name, *arguments, code=OK):
        done = subprocess.run([BIN_DIR / name, *arguments], capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def backupctl(self, *arguments, code=OK):
        return self.run_program("backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", *arguments, code=code)

    def json_lines(self, *arguments):
        return [json.loads(line) for line in self.backupctl("--json", *arguments).stdout.splitlines()]

    def client_folder(self, files, name="laptop", port=None):
        """A folder as a legacy client has it; `files` that are None are named but not there."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for file, content in files.items():
            if content is not None:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(content)
        (folder / "transfer.info").write_text(
            "\n".join([f"127.0.0.1:{port or self.cluster.port}", name, *files, ""]))
        return folder

    def legacy_client(self, folder, *flags, code=OK):
        return self.run_program("legacy-client", f"--dir={folder}", *flags, code=code)


class LegacyClientTest(CliTest):
    def test_files_in_both_variants_and_a_second_run_that_reconnects(self):
        self.start()
        for flag in ("crc32-ciphertext", "cksum-plaintext"):
            files = {"notes.txt": b"notes", "sub/large.bin": os.urandom(3 << 20), "empty": b""}
            folder = self.client_folder(files, name=flag)
            self.legacy_client(folder, f"--checksum={flag}")
            identity = (folder / "me.info").read_text().splitlines()
            self.assertEqual(identity[0], flag)
            self.assertEqual((folder / "priv.key").stat().st_mode & 0o777, 0o600)
            second = self.legacy_client(folder, f"--checksum={flag}", "--json")
            self.assertEqual([json.loads(line)["tries"] for line in second.stdout.splitlines()], [1, 1, 1])
            self.assertEqual((folder / "me.info").read_text().splitlines(), identity)
            self.backupctl("restore", "--client", flag, "--to", str(self.folder / f"restored {flag}"))
            for file, content in files.items():
                self.assertEqual((self.folder / f"restored {flag}" / file).read_bytes(), content)
        self.assertEqual([len(self.json_lines("file", "versions", flag, "empty")) for flag in
                          ("crc32-ciphertext", "cksum-plaintext")], [2, 2])
        self.cluster.bridge.wait_for_log("request=reconnect", 2)

    def test_a_wrong_checksum_is_tried_three_times_and_given_up(self):
        self.start(service_flags=["--debug"])
        folder = self.client_folder({"f": b"content", "g": b"more"})
        failed = self.legacy_client(folder, "--json", code=FAILED)
        self.assertEqual([json.loads(line)["ok"] for line in failed.stdout.splitlines()], [False, False])
        self.cluster.bridge.wait_for_log("request=abort", 2)
        log = self.cluster.bridge.log()
        self.assertEqual([log.count(f"request={kind}") for kind in ("file", "retry", "abort")], [6, 4, 2])
        self.assertFalse(any("newest_verified" in file for file in self.json_lines("file", "list", "laptop")))

    def test_a_file_that_is_not_there_leaves_the_others_alone(self):
        self.start()
        folder = self.client_folder({"missing": None, "f": b"content"})
        self.assertIn("failed  missing", self.legacy_client(folder, code=PARTIAL).stderr)
        self.assertEqual([file["file_name"] for file in self.json_lines("file", "list", "laptop")], ["f"])

    def test_a_taken_name_and_a_server_that_is_not_there(self):
        self.start()
        self.legacy_client(self.client_folder({"f": b"content"}))
        thief = self.client_folder({"f": b"other"}, name="thief")
        (thief / "transfer.info").write_text(f"127.0.0.1:{self.cluster.port}\nlaptop\nf\n")
        self.legacy_client(thief, code=FAILED)
        self.assertFalse((thief / "me.info").exists())
        self.legacy_client(self.client_folder({"f": b"content"}, port=1), code=UNREACHABLE)

    def test_shows_progress_on_a_terminal_only(self):
        self.start()
        folder = self.client_folder({"f": bytes(20 << 20)})
        self.assertEqual(self.legacy_client(folder).stderr, "")
        master, terminal = pty.openpty()
        done = subprocess.run([BIN_DIR / "legacy-client", f"--dir={folder}"], stdout=subprocess.DEVNULL,
                              stderr=terminal, timeout=WAIT_S)
        os.close(terminal)
        self.assertEqual(done.returncode, OK)
        shown = os.read(master, 1 << 16)
        os.close(master)
        self.assertIn(b"%", shown)

    def test_transfer_info_that_makes_no_sense(self):
        self.start()
        folder = self.client_folder({"f": b"content"})
        for text in ("", "nonsense\nlaptop\nf\n", "127.0.0.1:99999\nlaptop\nf\n", "127.0.0.1:1\n\nf\n",
                     f"127.0.0.1:1\n{'n' * 101}\nf\n", "127.0.0.1:1\nlaptop\n"):
            (folder / "transfer.info").write_text(text)
            self.assertIn("transfer.info", self.legacy_client(folder, code=USAGE).stderr)


class BackupctlTest(CliTest):
    FILES = {"notes.txt": b"notes", "sub/large.bin": bytes(range(256)) * 5000}

    def setUp(self):
        super().setUp()
        self.start()
        self.legacy_client(self.client_folder(self.FILES))

    def test_lists_shows_and_gets(self):
        client = self.json_lines("client", "show", "laptop")[0]
        self.assertEqual([client], self.json_lines("client", "list"))
        self.assertIn("last_verified_time", client)
        self.assertEqual([(file["file_name"], int(file["newest_verified"]["size_bytes"]))
                          for file in self.json_lines("file", "list", client["client_id"])],
                         [(name, len(content)) for name, content in self.FILES.items()])
        out = self.folder / "out"
        self.backupctl("file", "get", "laptop", "sub/large.bin", "-o", str(out))
        self.assertEqual(out.read_bytes(), self.FILES["sub/large.bin"])
        self.backupctl("file", "get", "laptop", "notes.txt", "-o", str(out), code=FAILED)
        self.backupctl("file", "get", "laptop", "notes.txt", "-o", str(out), "--force")
        self.assertEqual(out.read_bytes(), b"notes")

    def test_puts_what_a_restore_gives_back(self):
        source = self.folder / "put.bin"
        source.write_bytes(os.urandom(5 << 20))
        self.backupctl("file", "put", "laptop", str(source), "--name", "../../etc/put.bin")
        self.backupctl("restore", "--client", "laptop", "--to", str(self.folder / "restored"))
        restored = [path for path in (self.folder / "restored").rglob("*put.bin")]
        self.assertEqual([path.read_bytes() for path in restored], [source.read_bytes()])
        self.assertFalse((self.folder.parent / "etc").exists())

    def test_verify_finds_a_damaged_blob(self):
        self.backupctl("verify")
        blob = next(path for path in (self.cluster.data_dir / "store" / "blobs").rglob("*") if path.is_file())
        damaged = bytearray(blob.read_bytes())
        damaged[100] ^= 1
        blob.write_bytes(damaged)
        self.assertIn("sub/large.bin", self.backupctl("verify", code=DAMAGED).stdout)
        restore = self.backupctl("restore", "--client", "laptop", "--to", str(self.folder / "restored"), code=PARTIAL)
        self.assertIn("the stored content does not match its SHA-256", restore.stderr)
        self.assertFalse((self.folder / "restored" / "sub" / "large.bin").exists())
        self.assertEqual((self.folder / "restored" / "notes.txt").read_bytes(), b"notes")

    def test_version_tells_the_commit(self):
        version = json.loads(self.backupctl("--json", "version").stdout)
        self.assertRegex(version["commit"], r"^([0-9a-f]{12,40}|unknown)$")
        self.assertEqual(self.backupctl("version").stdout, f"backupctl {version['version']} ({version['commit']})\n")

    def test_exit_codes(self):
        for arguments, code in ((("status",), OK), (("health",), OK), (("version",), OK), ((), USAGE),
                                (("no-such-command",), USAGE), (("client", "show", "nobody"), NO_SUCH),
                                (("file", "get", "laptop", "nothing"), NO_SUCH),
                                (("decrypt", f"--data_dir={self.cluster.data_dir}", "--client=laptop",
                                  "--file=notes.txt"), 11)):
            with self.subTest(arguments):
                self.backupctl(*arguments, code=code)
        self.run_program("backupctl", "--service=127.0.0.1:1", "status", code=UNREACHABLE)
        self.run_program("backupctl", "--service=127.0.0.1:1", "health", code=UNREACHABLE)

    def test_names_never_bring_control_characters_to_the_terminal(self):
        client = m.ModelClient(self.cluster.port, b"evil \x1b[31m client").sign_up()
        client.back_up(b"a\nb\x1b[2J\xff", b"content")
        shown = self.backupctl("client", "list").stdout + self.backupctl("file", "list", client_text(client)).stdout
        self.assertIn("a%0Ab%1B[2J%FF", shown)
        self.assertNotIn("\x1b", shown)


class LegacyRecordTest(CliTest):
    def test_the_record_tells_how_a_client_speaks_and_what_it_did_wrong(self):
        self.start()
        client = m.ModelClient(self.cluster.port, b"old").sign_up()
        client.back_up(b"f", b"content")
        profile = self.json_lines("client", "show", "old")[0]["legacy_profile"]
        self.assertEqual((profile["family"], profile["header_version"], profile["file_style"],
                          profile["connection_style"], profile["checksum_kind"]),
                         ("C", 3, "counted", "one request a connection", "CKSUM_OF_PLAINTEXT"))
        self.assertEqual(client.request(m.VALID, b"no name field")[0], m.ERROR)
        self.cluster.bridge.wait_for_log("sent a malformed head")
        deadline = time.monotonic() + WAIT_S
        while "one name of 255 bytes" not in self.backupctl("client", "show", "old").stdout:
            self.assertLess(time.monotonic(), deadline)

    def test_trace_shows_the_conversation_without_keys_and_content(self):
        self.start()
        client = m.ModelClient(self.cluster.port, b"watched").sign_up()
        trace = subprocess.Popen(
            [BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", "trace", "--client", "watched"],
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(trace.communicate)
        self.addCleanup(trace.kill)
        forgotten = threading.Timer(WAIT_S, trace.kill)  # Ends the waiting for lines that do not come.
        forgotten.start()
        self.addCleanup(forgotten.cancel)
        self.assertIn("watching", trace.stdout.readline())
        m.ModelClient(self.cluster.port, b"other").sign_up()
        secret = b"precious content of this file"
        client.back_up(b"notes.txt", secret)
        lines = [trace.stdout.readline() for _ in range(2)]
        self.assertIn("file dialect=C version=3 code=1028 name=notes.txt content_size=32 (counted)", lines[0])
        self.assertIn("-> OK content_bytes=32", lines[0])
        self.assertIn("valid dialect=C", lines[1])
        for hidden in (secret, client.aes, client.encrypt(secret)):
            self.assertNotIn(hidden.hex(), "".join(lines))
        trace.send_signal(signal.SIGINT)
        self.assertEqual(trace.wait(timeout=WAIT_S), 130)


def client_text(client):
    """The client's id as the API has it."""
    text = client.id.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


if __name__ == "__main__":
    unittest.main()
