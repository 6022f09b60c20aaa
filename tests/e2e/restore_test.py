"""Restores by backupctl from a real service: names, versions, going on, archives, holes, and disks and readers that fail."""

import datetime
import fcntl
import io
import json
import os
import pathlib
import pty
import signal
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
import unittest
import unittest.mock

import model_client as m
from cluster import BIN_DIR, Cluster, wait_until

WAIT_S = 60
OK, FAILED, USAGE, PARTIAL, NO_SUCH, DAMAGED, INTERRUPTED = 0, 1, 2, 3, 10, 14, 130
MEBIBYTE = 1 << 20
LARGE = 16 * MEBIBYTE


class RestoreTest(unittest.TestCase):
    """A client and a folder of its own for each test; all tests of a class share a service."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.cluster = Cluster(directory.name)
        cls.addClassCleanup(cls.cluster.__exit__)

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.folder = pathlib.Path(directory.name)
        self.to = self.folder / "restored"
        self.name = self.id().rpartition(".")[2][:100]
        self.client = m.ModelClient(self.cluster.port, self.name.encode()).sign_up()

    def back_up(self, files):
        for name, content in files.items():
            self.client.back_up(name, content)

    def backupctl(self, *arguments, code=OK, port=None, text=True, **options):
        done = subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{port or self.cluster.service_port}",
                               *arguments], capture_output=True, text=text, timeout=WAIT_S, **options)
        self.assertEqual(done.returncode, code, (done.stdout[-2000:], done.stderr))
        return done

    def restore(self, *arguments, to=None, **options):
        return self.backupctl("restore", f"--client={self.name}", f"--to={to or self.to}", *arguments, **options)

    def restore_json(self, *arguments, **options):
        """What is said of each file, by what became of it; and the summary."""
        lines = [json.loads(line) for line in self.restore("--json", *arguments, **options).stdout.splitlines()]
        said = {}
        for line in lines:
            [(what, about)] = line.items()
            said.setdefault(what, []).append(about)
        return said

    def files(self, folder=None):
        """All files below the folder, by their paths as bytes."""
        root = os.fsencode(folder or self.to)
        return {os.path.relpath(os.path.join(parent, name), root): pathlib.Path(os.fsdecode(parent), os.fsdecode(name))
                .read_bytes() for parent, _, names in os.walk(root) for name in names}

    def blobs(self):
        return {path for path in (self.cluster.data_dir / "store" / "blobs").rglob("*") if path.is_file()}


class NamesTest(RestoreTest):
    HARMLESS = [b"100%", b"a%2Fb", b"end. ", b"end.", b"con.txt", b"caf\xe9", b"caf\xc3\xa9", b"-rf", b"new\nline", b"README",
                b"readme", b"C:\\Users\\x", b"..\\x", b"n" * 254, b"sub folder/ x /y", b"...", b"~", b"*?[a]", b"\x01\xff"]

    def test_linux_names_are_kept_as_they_are(self):
        files = {name: b"content of " + name for name in self.HARMLESS}
        self.back_up(files)
        said = self.restore_json()
        self.assertEqual(self.files(), files)
        self.assertEqual(said["summary"][0]["renamed"], 0)
        self.assertEqual(self.restore_json()["summary"][0]["kept"], len(files))

    def test_a_slash_in_front_is_left_out_and_that_is_no_rename(self):
        self.back_up({b"/etc/hostname": b"host"})
        self.restore()
        self.assertEqual(self.files(), {b"etc/hostname": b"host"})

    def test_other_names_are_said_and_are_a_failure_unless_allowed(self):
        self.back_up({b"../../escaped": b"1", b"a": b"2", b"a/b": b"3", b"x//y": b"4", b"/same": b"5", b"same": b"6"})
        done = self.restore(code=PARTIAL)
        expected = {b"..%2F..%2Fescaped": b"1", b"a": b"2", b"a%2Fb": b"3", b"x%2F%2Fy": b"4", b"same": b"5",
                    b"same~2": b"6"}
        self.assertEqual(self.files(), expected)
        self.assertEqual(done.stderr.count("another name: "), 4)
        self.assertIn("4 files have another name than they had", done.stderr)
        said = self.restore_json("--allow-renames", to=self.folder / "again")
        self.assertEqual({file["file_name"]: file["path"] for file in said["restored"] if file["renamed"]},
                         {"../../escaped": "..%2F..%2Fescaped", "a/b": "a%2Fb", "x//y": "x%2F%2Fy", "same": "same~2"})
        self.assertEqual(said["summary"][0]["renamed"], 4)
        self.assertFalse((self.folder.parent / "escaped").exists())

    def test_a_nul_which_only_the_api_can_give_is_written_as_text(self):
        source = self.folder / "source"
        source.write_bytes(b"content")
        self.backupctl("file", "put", self.name, str(source), "--name", "nul%00%25")
        self.restore("--allow-renames")
        self.assertEqual(self.files(), {b"nul%00%25": b"content"})

    def test_portable_names_fit_windows_too(self):
        self.back_up({name: name for name in self.HARMLESS})
        self.restore("--portable-names", code=PARTIAL)
        found = self.files()
        self.assertEqual(sorted(found.values()), sorted(self.HARMLESS))
        paths = [path.decode() for path in found]
        self.assertEqual(len({path.lower() for path in paths}), len(paths))
        for path in paths:
            for part in path.split("/"):
                self.assertNotRegex(part, r'[\x00-\x1f\\:*?"<>|]|[. ]$|^(?i:con|nul)(\.|$)')

    def test_what_lies_in_the_way_is_gone_around_and_nothing_outside_is_written(self):
        self.back_up({b"link/file": b"inside", b"file/x": b"inside", b"folder": b"inside", b"target": b"inside"})
        outside = self.folder / "outside"
        outside.mkdir()
        (outside / "file").write_bytes(b"outside")
        (self.to / "folder").mkdir(parents=True)
        (self.to / "link").symlink_to(outside)
        (self.to / "target").symlink_to(outside / "file")
        (self.to / "file").write_bytes(b"of the user")
        self.restore(code=PARTIAL)  # A link is in the place of "target".
        self.restore("--force", "--allow-renames")
        self.assertEqual({path.name: path.read_bytes() for path in outside.iterdir()}, {"file": b"outside"})
        self.assertEqual(self.files(), {b"link%2Ffile": b"inside", b"file": b"of the user", b"file%2Fx": b"inside",
                                        b"folder~2": b"inside", b"target": b"inside"})

    def test_modes_are_private_whatever_the_umask(self):
        self.back_up({b"a/b": b"content"})
        self.restore(umask=0)
        self.assertEqual([oct(path.stat().st_mode & 0o777) for path in (self.to, self.to / "a", self.to / "a/b")],
                         ["0o700", "0o700", "0o600"])
        self.restore(umask=0o777, to=self.folder / "again")
        self.assertEqual(self.files(self.folder / "again"), {b"a/b": b"content"})


class ChoiceTest(RestoreTest):
    def moment(self):
        return datetime.datetime.now(datetime.timezone.utc)

    def test_files_by_patterns(self):
        self.back_up({name: name for name in (b"/etc/a.conf", b"/etc/ssh/b.conf", b"notes.txt", b"x[1]", b"caf\xe9")})
        for patterns, names in ((["/etc/*"], [b"etc/a.conf"]), (["/etc/**"], [b"etc/a.conf", b"etc/ssh/b.conf"]),
                                (["**/*.conf"], [b"etc/a.conf", b"etc/ssh/b.conf"]), (["x[1]", "caf?"], [b"x[1]", b"caf\xe9"]),
                                (["caf%E9", "[a-n]otes.txt"], [b"caf\xe9", b"notes.txt"])):
            with self.subTest(patterns):
                to = self.folder / patterns[0].replace("/", "_")
                self.restore(*[f"--file={pattern}" for pattern in patterns], to=to)
                self.assertEqual(sorted(self.files(to)), sorted(names))
        self.assertIn("no file fits nothing", self.restore("--file=nothing", code=NO_SUCH).stderr)
        self.assertIn("no file fits nothing", self.restore("--file=notes.txt", "--file=nothing", code=PARTIAL).stderr)
        self.restore("--file=100%", code=USAGE)
        self.restore("--file=a[", code=USAGE)

    def test_versions_by_time_and_by_number(self):
        moments = []
        for content in (b"first", b"second", b"third"):
            moments.append(self.moment())
            self.back_up({b"f": content, b"g": b"other"})
        moments.append(self.moment())
        for moment, content in zip(moments[1:], (b"first", b"second", b"third")):
            self.restore(f"--as-of={moment.isoformat()}", "--force")
            self.assertEqual(self.files()[b"f"], content)
        self.assertEqual(self.restore_json(f"--as-of={moments[0].isoformat()}", to=self.folder / "none")["summary"][0],
                         {**self.restore_json("--as-of=2001-01-01 12:00", to=self.folder / "none")["summary"][0],
                          "seconds": unittest.mock.ANY})
        none = self.restore("--file=f", "--as-of=2001-01-01", to=self.folder / "none", code=FAILED)
        self.assertIn("1 files have no version that was verified by then", none.stderr)
        self.back_up({b"newer": b"newer"})
        self.restore("--file=f", "--file=newer", f"--as-of={moments[-1].isoformat()}", "--force", code=PARTIAL)
        version = json.loads(self.backupctl("--json", "file", "versions", self.name, "f").stdout.splitlines()[-1])
        self.restore("--file=f", f"--version={version['version_id']}", "--force")
        self.assertEqual(self.files()[b"f"], b"first")
        received = datetime.datetime.fromisoformat(version["receive_time"].replace("Z", "+00:00"))
        self.assertEqual(datetime.datetime.fromtimestamp((self.to / "f").stat().st_mtime, datetime.timezone.utc)
                         .replace(microsecond=0), received.replace(microsecond=0))
        for arguments in (("--version=1",), ("--file=*", "--version=1"), ("--as-of=yesterday",),
                          ("--file=f", "--version=1", "--as-of=2026-01-01")):
            self.restore(*arguments, code=USAGE)

    def test_a_dry_run_says_what_would_be_done_and_does_nothing(self):
        self.back_up({b"a": b"content", b"a/b": b"content"})
        done = self.restore("--dry-run", code=PARTIAL)
        self.assertIn("would restore a version", done.stdout)
        self.assertIn("another name: a/b is to be found as a%2Fb", done.stderr)
        self.assertFalse(self.to.exists())
        archive = self.restore("--dry-run", "--allow-renames", to="-")
        self.assertEqual(archive.stdout, "")
        self.assertIn("would restore a version", archive.stderr)
        self.restore("--allow-renames")
        said = self.restore_json("--dry-run", "--allow-renames")
        self.assertEqual(len(said["kept"]), 2)


class HoldingProxy(threading.Thread):
    """Passes connections on to the service, until it has passed `limit` bytes back; then it holds everything."""

    def __init__(self, port, limit):
        super().__init__(daemon=True)
        self.target = port
        self.left = limit
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            self.sockets += [client, server]
            threading.Thread(target=self.pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, True), daemon=True).start()

    def pump(self, source, sink, counted):
        try:
            while not counted or self.left > 0:
                data = source.recv(1 << 16)
                if not data:
                    break
                if counted:
                    self.left -= len(data)
                sink.sendall(data)
        except OSError:
            pass

    def close(self):
        self.listener.close()
        for one in self.sockets:
            one.close()


class InterruptionTest(RestoreTest):
    def setUp(self):
        super().setUp()
        self.contents = {b"0 small": b"small", b"1 large": os.urandom(LARGE), b"2 last": b"last"}
        self.back_up(self.contents)

    def parts(self):
        return sorted(self.to.glob(".backupctl-*.part"))

    def start_restore(self, *command):
        """A restore that hangs in the middle of the large file."""
        proxy = HoldingProxy(self.cluster.service_port, LARGE // 2)
        self.addCleanup(proxy.close)
        process = subprocess.Popen([BIN_DIR / "backupctl", f"--service=127.0.0.1:{proxy.port}", *command],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(lambda: proxy.left <= 0 and self.parts(), "the restore is in the middle of a file")
        return process

    def is_let_go(self, part):
        """What io_uring has in flight may hold a file, and so its lock, for a moment after its process has ended."""
        with open(part, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def kill(self, process):
        process.kill()
        process.wait()
        self.assertEqual(len(self.parts()), 1)
        wait_until(lambda: all(map(self.is_let_go, self.parts())), "nobody holds the part")

    def test_a_killed_restore_goes_on_and_leaves_nothing(self):
        killed = self.start_restore("restore", f"--client={self.name}", f"--to={self.to}", "--parallel=1")
        self.kill(killed)
        self.assertTrue((self.to / "0 small").exists())
        (self.to / ".backupctl-of-the-user.part").write_bytes(b"mine")
        summary = self.restore_json()["summary"][0]
        self.assertEqual((summary["files"], summary["kept"], summary["removed_parts"]), (2, 1, 1))
        self.assertEqual(self.files(), {**self.contents, b".backupctl-of-the-user.part": b"mine"})

    def test_a_file_called_like_a_part_is_never_taken_for_one(self):
        name = b".backupctl-0123456789abcdef.part"
        self.back_up({name: b"of the client", b"a/" + name: b"below"})
        self.assertIn("another name", self.restore(code=PARTIAL).stderr)
        summary = self.restore_json("--allow-renames")["summary"][0]
        self.assertEqual((summary["files"], summary["kept"], summary["removed_parts"]), (0, 5, 0))
        self.assertEqual(self.files()[name.replace(b".", b"%2E")], b"of the client")

    def test_a_part_that_is_still_written_is_left_alone(self):
        running = self.start_restore("restore", f"--client={self.name}", f"--to={self.to}")
        parts = self.parts()
        self.restore()
        self.assertEqual(self.parts(), parts)
        running.send_signal(signal.SIGINT)
        self.assertEqual(running.wait(timeout=WAIT_S), INTERRUPTED)
        self.assertEqual(self.files(), self.contents)

    def test_a_killed_get_is_cleaned_up_by_the_next_one(self):
        self.to.mkdir()
        killed = self.start_restore("file", "get", self.name, "1 large", "-o", str(self.to / "out"))
        self.kill(killed)
        self.backupctl("file", "get", self.name, "0 small", "-o", str(self.to / "small"))
        self.assertEqual(self.files(), {b"small": b"small"})

    def test_what_differs_is_a_problem_and_is_replaced_by_force(self):
        self.restore()
        (self.to / "2 last").write_bytes(b"LAST")
        self.assertIn("2 last is there with other content", self.restore(code=PARTIAL).stderr)
        self.assertEqual((self.to / "2 last").read_bytes(), b"LAST")
        summary = self.restore_json("--force")["summary"][0]
        self.assertEqual((summary["files"], summary["kept"]), (1, 2))
        self.assertEqual(self.files(), self.contents)

    def test_a_disk_that_is_full_leaves_no_part_and_the_rest_goes_on_elsewhere(self):
        if os.geteuid() != 0:
            self.skipTest("only root can mount a small file system")
        self.to.mkdir()
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=4m none "$1" || exit 77; shift; "$@"; code=$?; '
             'ls -A "$0"; exit $code', self.to, self.to, BIN_DIR / "backupctl",
             f"--service=127.0.0.1:{self.cluster.service_port}", "restore", f"--client={self.name}", f"--to={self.to}"],
            capture_output=True, text=True, timeout=WAIT_S)
        if done.returncode == 77:
            self.skipTest("nothing can be mounted here")
        self.assertEqual(done.returncode, FAILED, done.stderr)
        self.assertIn("No space left on device", done.stderr)
        self.assertNotIn(".part", done.stdout)
        self.assertIn("0 small", done.stdout)


class ContentTest(RestoreTest):
    def test_holes_stay_holes_and_all_bytes_are_right(self):
        content = os.urandom(MEBIBYTE) + bytes(12 * MEBIBYTE) + os.urandom(100_000) + bytes(3 * MEBIBYTE + 5)
        self.back_up({b"sparse": content})
        self.restore()
        self.assertEqual((self.to / "sparse").read_bytes(), content)
        self.assertLess((self.to / "sparse").stat().st_blocks * 512, 2 * MEBIBYTE)
        self.backupctl("file", "get", self.name, "sparse", "-o", str(self.folder / "got"))
        self.assertEqual((self.folder / "got").read_bytes(), content)
        self.assertLess((self.folder / "got").stat().st_blocks * 512, 2 * MEBIBYTE)

    def test_some_failed_is_3_and_all_failed_is_1_and_damage_has_one_name(self):
        blobs = [self.blobs()]
        for name in (b"cut", b"missing"):
            self.back_up({name: os.urandom(200_000)})
            blobs.append(self.blobs())
        [cut], [missing] = blobs[1] - blobs[0], blobs[2] - blobs[1]
        os.truncate(cut, 150_000)
        missing.unlink()
        said = self.restore_json(code=FAILED)
        self.assertEqual([(file["file_name"], file["reason"]) for file in said["failed"]],
                         [("cut", "BLOB_DAMAGED"), ("missing", "BLOB_DAMAGED")])
        self.back_up({b"whole": b"content"})
        done = self.restore(code=PARTIAL)
        for name in ("cut", "missing"):
            self.assertIn(f"cannot restore {name}: BLOB_DAMAGED: ", done.stderr)
            self.assertIn("BLOB_DAMAGED: ", self.backupctl("file", "get", self.name, name, "-o",
                                                           str(self.folder / name), code=DAMAGED).stderr)
            self.assertFalse((self.folder / name).exists())
        findings = [json.loads(line).get("finding") for line in
                    self.backupctl("--json", "verify", code=DAMAGED).stdout.splitlines()]
        self.assertEqual({found["file_name"]: (found["kind"], found["reason"]) for found in findings if found},
                         {"cut": ("DAMAGED", "BLOB_DAMAGED"), "missing": ("MISSING", "BLOB_DAMAGED")})
        verified = self.backupctl("verify", code=DAMAGED).stdout
        self.assertIn("DAMAGED (BLOB_DAMAGED)  cut ", verified)
        self.assertIn("MISSING (BLOB_DAMAGED)  missing ", verified)
        archive = self.restore(to="-", code=PARTIAL, text=False)
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            self.assertEqual(tar.getnames(), ["whole"])

    def test_an_archive_has_every_name_and_every_byte(self):
        files = {b"/etc/hostname": b"host", b"caf\xe9": b"1", b"caf\xc3\xa9": b"2", b"n" * 254: b"3", b"new\nline": b"4",
                 b"large": os.urandom(6 * MEBIBYTE), b"empty": b"", b"100%": b"5"}
        self.back_up(files)
        done = self.restore(to="-", text=False)
        self.assertIn(b"restored 8 files", done.stderr)
        expected = {name.lstrip(b"/"): content for name, content in files.items()}
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            self.assertEqual({os.fsencode(file.name): tar.extractfile(file).read() for file in tar}, expected)
            self.assertEqual({file.mode for file in tar.getmembers()}, {0o600})
            self.assertLess(abs(tar.getmembers()[0].mtime - time.time()), WAIT_S)
        listed = subprocess.run(["tar", "-tf", "-"], input=done.stdout, check=True, capture_output=True, timeout=WAIT_S)
        self.assertEqual(len(listed.stdout.splitlines()), len(files))
        self.to.mkdir()
        for locale in ("C", "C.UTF-8"):
            subprocess.run(["tar", "-xf", "-", "-C", self.to], input=done.stdout, check=True, timeout=WAIT_S,
                           stderr=subprocess.DEVNULL, env={**os.environ, "LC_ALL": locale})
            self.assertEqual(self.files(), expected)
        self.assertEqual(self.restore_json()["summary"][0]["kept"], len(files))

    def test_standard_output_gets_the_bytes_and_nothing_else(self):
        content = os.urandom(3 * MEBIBYTE)
        self.back_up({b"f": content})
        done = self.backupctl("file", "get", self.name, "f", "-o", "-", text=False)
        self.assertEqual(done.stdout, content)
        self.assertIn(b"SHA-256 matches", done.stderr)
        said = self.backupctl("--json", "file", "get", self.name, "f", "--out=-", text=False)
        self.assertEqual((said.stdout, json.loads(said.stderr)["size_bytes"]), (content, len(content)))

    def test_a_reader_that_goes_away_ends_it_quietly(self):
        self.back_up({b"f": os.urandom(3 * MEBIBYTE)})
        for command in (["restore", f"--client={self.name}", "--to=-"], ["file", "get", self.name, "f", "-o", "-"]):
            process = subprocess.Popen([BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", *command],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(len(process.stdout.read(100)), 100)
            process.stdout.close()
            self.assertEqual((process.wait(timeout=WAIT_S), process.stderr.read()), (-signal.SIGPIPE, b""))
            process.stderr.close()

    def test_an_interrupt_is_noticed_while_nobody_reads(self):
        self.back_up({b"f": os.urandom(3 * MEBIBYTE)})
        process = subprocess.Popen([BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", "restore",
                                    f"--client={self.name}", "--to=-"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(process.stdout.close)
        self.assertTrue(process.stdout.read(1))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=WAIT_S), INTERRUPTED)

    def test_bytes_are_not_written_to_a_terminal(self):
        self.back_up({b"f": b"content"})
        for command in (["restore", f"--client={self.name}", "--to=-"], ["file", "get", self.name, "f", "-o", "-"]):
            master, terminal = pty.openpty()
            done = subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", *command],
                                  stdout=terminal, stderr=subprocess.PIPE, timeout=WAIT_S)
            os.close(terminal)
            os.close(master)
            self.assertEqual(done.returncode, USAGE)
            self.assertIn(b"is a terminal", done.stderr)

    def test_many_files_at_once_are_told_in_their_order(self):
        files = {b"%03d" % at: os.urandom(300_000 if at % 10 == 0 else 1000) for at in range(60)}
        self.back_up(files)
        said = self.restore_json("--parallel=16")
        self.assertEqual([file["file_name"] for file in said["restored"]], [name.decode() for name in files])
        self.assertEqual(self.files(), files)
        self.restore("--parallel=0", code=USAGE)
        self.restore("--parallel=17", code=USAGE)


if __name__ == "__main__":
    unittest.main()
