"""legacy-client and backupctl as an operator uses them, against both real processes."""

import fcntl
import json
import os
import pathlib
import pty
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unicodedata
import unittest

import model_client as m
from client_trace import start_trace
from cluster import BIN_DIR, Cluster, Process

WAIT_S = 60
OK, FAILED, USAGE, PARTIAL, NO_SUCH, DAMAGED, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 10, 14, 15, 130


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
        self.backupctl("restore", "--client", "laptop", "--to", str(self.folder / "restored"), "--allow-renames")
        restored = [path for path in (self.folder / "restored").rglob("*put.bin")]
        self.assertEqual([path.read_bytes() for path in restored], [source.read_bytes()])
        self.assertFalse((self.folder.parent / "etc").exists())

    def flip(self, at):
        """Changes a byte of the only pack."""
        [pack] = [path for path in (self.cluster.data_dir / "store" / "blobs").rglob("*") if path.is_file()]
        damaged = bytearray(pack.read_bytes())
        damaged[at] ^= 1
        pack.write_bytes(damaged)

    def test_verify_finds_a_damaged_chunk_which_the_same_bytes_heal(self):
        self.backupctl("verify")
        large = self.folder / "large.bin"
        self.backupctl("file", "get", "laptop", "sub/large.bin", "-o", str(large))
        self.flip(100)
        self.assertIn("sub/large.bin", self.backupctl("verify", code=DAMAGED).stdout)
        restore = self.backupctl("restore", "--client", "laptop", "--to", str(self.folder / "restored"), code=PARTIAL)
        self.assertIn("the chunk at byte 0 of the content cannot be read", restore.stderr)
        self.assertFalse((self.folder / "restored" / "sub" / "large.bin").exists())
        self.assertEqual((self.folder / "restored" / "notes.txt").read_bytes(), b"notes")
        self.backupctl("file", "put", "laptop", str(large), "--name", "again")
        self.backupctl("verify")
        self.backupctl("restore", "--client", "laptop", "--to", str(self.folder / "restored"))
        self.assertEqual((self.folder / "restored" / "sub" / "large.bin").read_bytes(), large.read_bytes())

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


    # Deleting.

    def versions(self, name):
        return [version["version_id"] for version in self.json_lines("file", "versions", "laptop", name)]

    def test_file_rm_says_what_goes_and_needs_a_yes(self):
        self.legacy_client(self.folder / "laptop")
        ids = self.versions("notes.txt")
        self.assertEqual(len(ids), 2)
        several = self.backupctl("file", "rm", "laptop", "notes.txt", "--yes", code=USAGE)
        self.assertIn("notes.txt has 2 versions", several.stderr)
        unasked = self.backupctl("file", "rm", "laptop", "notes.txt", "--all", code=USAGE)
        self.assertIn("notes.txt of laptop: all 2 versions, 10 B, into the trash for 168h: say --yes", unasked.stderr)
        self.assertEqual(self.versions("notes.txt"), ids)
        self.assertIn(f"version {ids[0]}",
                      self.backupctl("file", "rm", "laptop", "notes.txt", f"--version={ids[0]}", "--yes").stdout)
        self.assertEqual(self.versions("notes.txt"), ids[1:])
        gone = self.json_lines("file", "rm", "laptop", "notes.txt", "--yes")
        self.assertEqual([version["version_id"] for version in gone], ids[1:])
        self.backupctl("file", "rm", "laptop", "notes.txt", "--all", "--yes", code=NO_SUCH)
        self.backupctl("file", "rm", "laptop", "sub/large.bin", "--version=999", "--yes", code=NO_SUCH)
        self.assertEqual(len(self.versions("sub/large.bin")), 2)

    def test_client_rm_deletes_all_of_a_client(self):
        unasked = self.backupctl("client", "rm", "laptop", code=USAGE)
        self.assertIn("the client laptop", unasked.stderr)
        self.assertIn("2 files, 2 versions, into the trash for 168h: say --yes", unasked.stderr)
        self.assertEqual(self.json_lines("client", "rm", "laptop", "--yes")[0]["name"], "laptop")
        self.assertEqual(self.json_lines("client", "list"), [])
        self.backupctl("client", "rm", "laptop", "--yes", code=NO_SUCH)
        self.assertEqual(self.json_lines("status")[0]["version_count"], 0)

    # The trash.

    def test_a_file_comes_back_from_the_trash(self):
        self.legacy_client(self.folder / "laptop")
        ids = self.versions("notes.txt")
        shown = self.backupctl("file", "rm", "laptop", "no*", "--all", "--dry-run").stdout
        self.assertIn("notes.txt", shown)
        self.assertEqual(self.versions("notes.txt"), ids)
        self.backupctl("file", "rm", "laptop", "nothing*", "--all", "--yes", code=NO_SUCH)
        said = self.backupctl("file", "rm", "laptop", "no*", "--all", "--yes").stdout
        self.assertRegex(said, r"deleted 2 versions: in the trash until .*Z; `backupctl file undelete laptop 'no\*'` takes it back")
        self.assertEqual([file["file_name"] for file in self.json_lines("file", "list", "laptop")], ["sub/large.bin"])
        trash = self.json_lines("trash", "list", "laptop")
        self.assertEqual(sorted(entry["version"]["version_id"] for entry in trash), sorted(ids))
        self.assertIn("purge_time", trash[0])
        status = self.json_lines("status")[0]
        self.assertEqual((status["version_count"], status["trash_version_count"], status["trash_bytes"]), (2, 2, 10))
        self.assertRegex(self.backupctl("status").stdout, r"In the trash: +2 versions, 10 B")
        self.backupctl("file", "undelete", "laptop", "none", code=NO_SUCH)
        one = self.backupctl("file", "undelete", "laptop", "notes.txt", f"--version={ids[1]}").stdout
        self.assertIn(f"took back notes.txt of laptop: version {ids[1]}", one)
        self.assertEqual(self.versions("notes.txt"), ids[1:])
        self.assertEqual([version["version_id"] for version in self.json_lines("file", "undelete", "laptop", "*.txt")], ids[:1])
        self.assertEqual(self.versions("notes.txt"), ids)
        self.assertEqual(self.json_lines("trash", "list"), [])

    def test_a_client_comes_back_from_the_trash_also_by_itself(self):
        before = self.json_lines("file", "list", "laptop")
        self.backupctl("client", "rm", "laptop", "--yes")
        entry = self.json_lines("trash", "list")[0]
        self.assertEqual((entry["client"]["name"], entry["file_count"], entry["version_count"]), ("laptop", 2, 2))
        self.assertIn("all of laptop: 2 files", self.backupctl("trash", "list", "laptop").stdout)
        self.assertIn("took back laptop with 2 files", self.backupctl("client", "undelete", "laptop").stdout)
        self.assertEqual(self.json_lines("file", "list", "laptop"), before)
        self.backupctl("client", "rm", "laptop", "--yes")
        self.cluster.service.kill()
        self.cluster.start_service()
        self.assertEqual(self.json_lines("client", "list"), [])
        # The old client, which knows nothing of it, goes on.
        self.legacy_client(self.folder / "laptop")
        files = self.json_lines("file", "list", "laptop")
        self.assertEqual([file["version_count"] for file in files], [2, 2])
        self.assertEqual(self.json_lines("client", "list")[0]["client_id"], entry["client"]["client_id"])

    def test_the_trash_is_emptied_for_good(self):
        self.backupctl("file", "rm", "laptop", "notes.txt", "--yes")
        unasked = self.backupctl("trash", "empty", code=USAGE)
        self.assertIn("all that is in the trash: 0 clients, 1 versions, for good: say --yes", unasked.stderr)
        self.backupctl("client", "rm", "laptop", "--yes")
        self.assertEqual(self.json_lines("trash", "empty", "laptop", "--yes"), [{"version_count": 2, "client_count": 1}])
        self.backupctl("client", "undelete", "laptop", code=NO_SUCH)
        self.assertIn("removed 0 versions", self.backupctl("trash", "empty", "--yes").stdout)

    def on_terminal(self, *arguments, typed="", columns=80):
        """What a command shows on a terminal where `typed` is typed; and its exit code."""
        master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(
            [BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", *arguments], stdin=terminal,
            stdout=terminal, stderr=terminal, env={**os.environ, "TERM": "xterm"}, preexec_fn=lambda: os.login_tty(0))
        os.close(terminal)
        shown = b""
        try:
            while piece := os.read(master, 1 << 16):
                shown += piece
                if typed and b"[y/N]" in shown:
                    os.write(master, typed.encode())
                    typed = ""
        except OSError:  # The end of a terminal.
            pass
        os.close(master)
        return shown.decode().replace("\r\n", "\n"), process.wait(timeout=WAIT_S)

    def test_on_a_terminal_deleting_asks(self):
        shown, code = self.on_terminal("file", "rm", "laptop", "notes.txt", typed="n\n")
        self.assertIn("Delete notes.txt of laptop: version 1, 5 B, into the trash for 168h? [y/N]", shown)
        self.assertEqual((code, len(self.versions("notes.txt"))), (FAILED, 1))
        shown, code = self.on_terminal("file", "rm", "laptop", "notes.txt", typed="\x03")  # Ctrl-C.
        self.assertEqual((code, len(self.versions("notes.txt"))), (INTERRUPTED, 1), shown)
        shown, code = self.on_terminal("file", "rm", "laptop", "notes.txt", typed="y\n")
        self.assertEqual(code, OK, shown)
        self.backupctl("file", "versions", "laptop", "notes.txt", code=NO_SUCH)

    # What is shown.

    def test_tables_fit_the_terminal(self):
        client = m.ModelClient(self.cluster.port, "long \u65e5\u672c ".encode() * 10).sign_up()
        client.back_up(b"/a/long/path/" * 10 + b"name", b"content")
        name = client_text(client)
        for columns in (40, 80, 200):
            for command in (("client", "list"), ("file", "list", name), ("file", "versions", "laptop", "notes.txt"),
                            ("status",), ("client", "show", name)):
                shown, code = self.on_terminal(*command, columns=columns)
                self.assertEqual(code, OK, shown)
                for line in shown.splitlines():
                    self.assertLessEqual(width(line), columns, line)
            wide, _ = self.on_terminal("--wide", "file", "list", name, columns=columns)
            self.assertEqual(wide, self.backupctl("file", "list", name).stdout)
        shown, _ = self.on_terminal("file", "list", name, columns=80)
        self.assertRegex(shown, r"(?m)^/a/long/.*\u2026.*name ")

    def test_names_that_hide_or_reverse_text_are_shown_escaped_and_can_be_given_back(self):
        for hidden in "\u202e\u2066\u200b\u200e\u061c\ufeff\u2028\u00a0\U000e0041\x85":
            client = m.ModelClient(self.cluster.port, f"evil {hidden}client".encode()).sign_up()
            client.back_up(f"a{hidden}b".encode(), b"content")
            clients = self.backupctl("client", "list").stdout
            escaped = "".join(f"%{byte:02X}" for byte in hidden.encode())
            self.assertIn(f"evil {escaped}client", clients)
            self.assertIn(f"a{escaped}b", self.backupctl("file", "list", f"evil {escaped}client").stdout)
            self.backupctl("file", "get", f"evil {escaped}client", f"a{escaped}b", "-o", str(self.folder / "got"), "--force")
            refused = self.backupctl("client", "show", f"nobody {hidden}", code=NO_SUCH if hidden > "\x9f" else USAGE)
            said = self.backupctl("--json", "client", "list").stdout + clients + refused.stderr
            self.assertNotIn(hidden, said + self.cluster.bridge.log() + self.cluster.service.log())
            folder = self.client_folder({f"c{hidden}d": None, "f": b"content"}, name=f"legacy{ord(hidden)}")
            legacy = self.legacy_client(folder, code=PARTIAL)
            self.assertNotIn(hidden, legacy.stdout + legacy.stderr + self.legacy_client(folder, "--json", code=PARTIAL).stdout)

    def piped(self, command):
        """Runs a line of bash in which $ctl and $legacy stand for the programs; its exit code and standard error."""
        done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=WAIT_S,
                              env={**os.environ, "legacy": f"{BIN_DIR}/legacy-client --dir={self.folder}/laptop",
                                   "ctl": f"{BIN_DIR}/backupctl --service=127.0.0.1:{self.cluster.service_port}"})
        return done.returncode, done.stderr

    def test_a_reader_that_goes_away_ends_it_quietly(self):
        for number in range(50):
            self.backupctl("file", "put", "laptop", str(self.folder / "laptop/notes.txt"), "--name", f"{number}")
        broken_pipe = 128 + signal.SIGPIPE
        for arguments in ("--json file list laptop", "file list laptop", "--help", "completion bash"):
            code, errors = self.piped(f"$ctl {arguments} | head -1 >/dev/null")
            self.assertIn((code, errors), ((OK, ""), (broken_pipe, "")), arguments)  # As it comes: it may be written before.
            code, errors = self.piped(f"(sleep 0.2; $ctl {arguments}) | true")
            self.assertEqual((code, errors), (broken_pipe, ""), arguments)

    def test_output_that_cannot_be_written_is_an_error(self):
        for arguments in ("file list laptop", "--json status", "--help", "version", "verify"):
            code, errors = self.piped(f"$ctl {arguments} >/dev/full")
            self.assertEqual((code, errors),
                             (FAILED, "backupctl: cannot write to standard output: No space left on device\n"), arguments)
        code, errors = self.piped("$legacy >/dev/full")
        self.assertEqual((code, errors),
                         (FAILED, "legacy-client: cannot write to standard output: No space left on device\n"))

    def test_local_commands_need_no_address_of_a_service(self):
        for arguments in (("version",), ("completion", "bash")):
            self.run_program("backupctl", "--service=elsewhere.example:1", *arguments)


class AddressesTest(CliTest):
    def start_on(self, listen, bind):
        """Both programs on these addresses; the service's and the bridge's port."""
        service = Process("backup-service", [f"--data_dir={self.folder}/data", f"--listen={listen}", "--insecure_grpc"],
                          self.folder)
        self.addCleanup(service.stop)
        bridge = Process("backup-bridge", [f"--bind={bind}", "--port=0", f"--service=tcp://127.0.0.1:{service.port}"],
                         self.folder)
        self.addCleanup(bridge.stop)
        return service, bridge

    def test_one_address_has_every_spelling(self):
        for listen, bind in (("*:0", "*"), ("[::]:0", "[::]"), (":0", "::"), ("tcp://localhost:0", "localhost"),
                             ("0.0.0.0:0", "tcp://0.0.0.0")):
            service, bridge = self.start_on(listen, bind)
            any_address = "localhost" not in listen
            for host in ("127.0.0.1", "localhost", *(["*"] if any_address else []), *(["[::1]"] if ":" in bind[1:3] else [])):
                for scheme in ("", "tcp://"):
                    if host == "127.0.0.1" and not any_address:
                        continue
                    with self.subTest(listen=listen, host=host, scheme=scheme):
                        self.run_program("backupctl", f"--service={scheme}{host}:{service.port}", "health")
                        folder = self.folder / "laptop"
                        folder.mkdir(exist_ok=True)
                        (folder / "f").write_bytes(b"content")
                        (folder / "transfer.info").write_text(f"{scheme}{host}:{bridge.port}\nlaptop\nf\n")
                        self.legacy_client(folder)
            bridge.stop()
            service.stop()
            self.assertNotIn("::ffff:", bridge.log() + service.log())

    def test_clients_over_ipv4_look_like_it_and_are_traced_by_any_spelling(self):
        service, bridge = self.start_on("127.0.0.1:0", "*")
        client = m.ModelClient(bridge.port, b"watched").sign_up()
        bridge.wait_for_log(" peer=127.0.0.1:")
        for spelling in ("127.0.0.1", "127.0.0.1:", "::ffff:127.0.0.1", "tcp://127.0.0.1", "127.0.", "localhost", "*",
                         "[::]", "::", "0.0.0.0"):
            trace = start_trace(self, service.port, f"--address={spelling}")
            client.back_up(b"f", b"content")
            self.assertIn(" 127.0.0.1:", trace.stdout.readline(), spelling)
            trace.send_signal(signal.SIGINT)

    def test_addresses_that_are_none_are_refused_with_the_right_form(self):
        for wrong, why in (("::1:50051", "brackets"), ("host:port", "port"), ("host:70000", "port"), ("", "--service= is empty")):
            done = self.run_program("backupctl", f"--service={wrong}", "health", code=USAGE)
            self.assertIn(why, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertIn("address is empty", self.run_program("backupctl", "--service", "", "health", code=USAGE).stderr)


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
        while "it must be CLIENT_ID 16 or nothing, FILE_NAME 255" not in self.backupctl("client", "show", "old").stdout:
            self.assertLess(time.monotonic(), deadline)

    def test_trace_shows_the_conversation_without_keys_and_content(self):
        self.start()
        client = m.ModelClient(self.cluster.port, b"watched").sign_up()
        trace = start_trace(self, self.cluster.service_port, "--client=watched")
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


def width(text):
    """Columns on a terminal."""
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def client_text(client):
    """The client's id as the API has it."""
    text = client.id.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


if __name__ == "__main__":
    unittest.main()
