"""A disk that fills up: while large files are written past the page cache, and until nothing more is stored, after which
deleting makes room again. It is a small file system of its own, which takes the rights to mount one; without them the test
says so and is skipped (exit code 77)."""

import itertools
import json
import os
import pathlib
import select
import shutil
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import unittest

import model_client as m
from cluster import BIN_DIR, ClusterTest, wait_until
from stored_files import newest_verified

MEBIBYTE = 1 << 20
# The catalog may take 64 MiB of it, half of that for its log.
DISK_SIZE = 192 * MEBIBYTE
LARGE = 32 * MEBIBYTE
SMALL = 20_000  # Lives in the catalog.
# To be filled to the last byte it is smaller.
SMALL_DISK_SIZE = 64 * MEBIBYTE
XFS_DISK_SIZE = 96 * MEBIBYTE
# What fills it up: the second kind lives in the catalog.
FILLING_SIZES = (4 * MEBIBYTE, 50_000)
O_DIRECT = 0o40000
WAIT_S = 60
SKIPPED = 77
FAILED = 1
# Says to the process in the mount namespace that it is there.
IN_NAMESPACE = "FULL_DISK_TEST_NAMESPACE"


def write_noise(path, size):
    """What takes as much room as it is large."""
    with open(path, "wb") as file:
        for _ in range(size // MEBIBYTE):
            file.write(os.urandom(MEBIBYTE))


class DiskTest(ClusterTest):
    """On a small file system of its own."""

    def mount_image(self, size, *mkfs):
        """A disk in a file."""
        with open(self.folder / "disk", "wb") as image:
            image.truncate(size)
        subprocess.run([*mkfs, self.folder / "disk"], check=True, timeout=WAIT_S)
        self.mount("-o", "loop", self.folder / "disk")

    def mount(self, *arguments):
        data = self.folder / "data"
        data.mkdir()
        subprocess.run(["mount", *arguments, data], check=True, timeout=WAIT_S)
        self.addCleanup(subprocess.run, ["umount", data], check=True, timeout=WAIT_S)

    def start_with_keeper(self, **flags):
        """Both processes, and a client with a file that must stay."""
        (self.folder / "data" / "filling").touch()
        self.cluster = self.start(**flags)
        self.keeper = m.ModelClient(self.cluster.port, b"keeper", version=1).sign_up()
        self.kept = {b"small": os.urandom(SMALL), b"large": os.urandom(MEBIBYTE)}
        for name, content in self.kept.items():
            self.keeper.back_up(name, content)

    def backupctl(self, *arguments):
        return subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", *arguments],
                              capture_output=True, text=True, timeout=WAIT_S)

    def stored(self, kind):
        """Blobs that are whole ("blobs") or are being written ("tmp")."""
        return [path for path in (self.cluster.data_dir / "store" / kind).rglob("*") if path.is_file()]

    def fill_disk(self):
        """Somebody else takes all that is left."""
        filling = self.cluster.data_dir / "filling"
        with open(filling, "ab", buffering=0) as file:
            for size in (MEBIBYTE, 4096, 512):
                try:
                    while file.write(bytes(size)) > 0:
                        pass
                except OSError:
                    continue
        return filling

    def assert_reads_work(self):
        for name, content in self.kept.items():
            out = self.folder / "restored"
            done = self.backupctl("--quiet", "file", "get", "--force", "keeper", name.decode(), "-o", str(out))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(out.read_bytes(), content)

    @staticmethod
    def is_backed_up(client, name, content):
        try:
            client.back_up(name, content)
        except (ConnectionError, AssertionError):  # Refused, or stored and not confirmed.
            return False
        return True

    def assert_all_is_well_again(self, client, name, size=LARGE):
        """Without a restart what failed works, and all that was confirmed is there."""
        content = os.urandom(size)
        # Not at once: every second the service looks whether what it reserves is there again.
        wait_until(lambda: self.is_backed_up(client, name, content), "uploads go on")
        for kept, expected in self.kept.items():
            self.keeper.back_up(b"again " + kept, expected)
        self.assertEqual(self.backupctl("verify").returncode, 0)
        for kept, expected in self.kept.items():
            for stored in (kept, b"again " + kept):
                self.assertEqual(newest_verified(self.cluster.service, self.keeper.id, stored), expected)
        self.assertEqual(newest_verified(self.cluster.service, client.id, name), content)
        self.assertEqual(self.cluster.service.stop(), 0)


class FillingUpTest(DiskTest):
    """While large files are written."""

    def start_on_disk(self, features="extent"):
        self.mount_image(DISK_SIZE, "mkfs.ext4", "-q", "-m", "0", "-O", features)
        self.start_with_keeper()

    def is_written_directly(self):
        """Whether the one part is more than begun, and is written past the page cache."""
        [part] = self.stored("tmp") or [None]
        if part is None or part.stat().st_size < MEBIBYTE:
            return False
        process = pathlib.Path(f"/proc/{self.cluster.service.process.pid}")
        [fd] = [link.name for link in (process / "fd").iterdir() if os.path.realpath(link) == str(part)]
        flags = (process / "fdinfo" / fd).read_text().partition("flags:")[2].split()[0]
        return int(flags, 8) & O_DIRECT != 0

    def send_half(self, client, name):
        """A connection on which half a large file was sent and is being written; and the other half."""
        content = client.encrypt(os.urandom(LARGE - 1))
        payload = struct.pack("<I", LARGE) + m.name_field(name) + content
        connection = client.connect()
        self.addCleanup(connection.close)
        connection.send(client.id, client.version, m.FILE, payload[:len(payload) // 2], payload_size=len(payload))
        wait_until(self.is_written_directly, "the file is written with O_DIRECT")
        return connection, payload[len(payload) // 2:]

    def assert_nothing_is_left(self, blobs):
        wait_until(lambda: not self.stored("tmp"), "no part is left")
        self.assertEqual(self.stored("blobs"), blobs)

    def check_disk_that_fills_up_in_the_middle(self, features, expected_log, catalog_too=False):
        """Of a large file that is being written: it fails and leaves nothing, and all else goes on."""
        self.start_on_disk(features)
        blobs = self.stored("blobs")
        client = m.ModelClient(self.cluster.port, b"unlucky", version=1).sign_up()
        connection, rest = self.send_half(client, b"file")
        filling = self.fill_disk()
        if catalog_too:
            while self.is_backed_up(client, b"of the catalog", os.urandom(SMALL)):
                pass
        connection.socket.sendall(rest)
        self.assertEqual(connection.answer()[0], m.ERROR)
        self.cluster.service.wait_for_log("outcome=STORAGE_FULL")
        self.cluster.service.wait_for_log(expected_log)
        self.assert_nothing_is_left(blobs)
        self.assert_reads_work()
        filling.unlink()
        self.assert_all_is_well_again(client, b"file")

    def test_writes_that_find_no_room_fail_and_leave_nothing(self):
        """On a file system that cannot set space aside (ext4 without extents, as ext3)."""
        self.check_disk_that_fills_up_in_the_middle("^extent,^64bit", "cannot write: No space left on device")

    def test_space_that_was_set_aside_is_there_and_is_given_back_when_the_catalog_has_none(self):
        self.check_disk_that_fills_up_in_the_middle(
            "extent", "the room that is left is kept for that", catalog_too=True)
        self.assertNotIn("No space left on device", self.cluster.service.log())

    def test_what_is_too_large_for_the_disk_is_refused_and_leaves_nothing(self):
        """Not at once: nobody knows how much of it is there already."""
        self.start_on_disk()
        blobs = self.stored("blobs")
        source = self.folder / "huge"
        write_noise(source, DISK_SIZE)
        done = self.backupctl("--json", "file", "put", "keeper", str(source))
        self.assertEqual(done.returncode, FAILED, done.stderr)
        self.assertIn("free disk space", done.stderr)
        connection = self.keeper.connect()
        self.addCleanup(connection.close)
        begin = struct.pack("<I", DISK_SIZE) + m.name_field(b"huge")
        connection.send(self.keeper.id, 1, m.FILE, begin, payload_size=4 + m.NAME_SIZE + DISK_SIZE)
        deadline = time.monotonic() + WAIT_S
        while not select.select([connection.socket], [], [], 0.01)[0]:
            self.assertLess(time.monotonic(), deadline)
            connection.socket.sendall(os.urandom(64 << 10))
        self.assertEqual(connection.answer()[0], m.ERROR)
        self.cluster.service.wait_for_log("outcome=STORAGE_FULL", 2)
        self.assert_nothing_is_left(blobs)
        self.assert_all_is_well_again(self.keeper, b"huge")

    def test_a_file_of_unknown_size_fills_the_disk_and_nobody_else_notices(self):
        """The packets of family E do not tell how large the file is before the last of them is there."""
        self.start_on_disk()
        blobs = self.stored("blobs")
        folder = self.folder / "client"
        folder.mkdir()
        write_noise(folder / "endless", 2 * DISK_SIZE)
        (folder / "transfer.info").write_text(f"127.0.0.1:{self.cluster.port}\nendless\nendless\n")
        others = Others(self.cluster.port)
        done = subprocess.run([BIN_DIR / "legacy-client", f"--dir={folder}", "--family=E"], capture_output=True,
                              text=True, timeout=WAIT_S)
        others.end()
        self.assertEqual(done.returncode, FAILED, done.stderr)
        self.cluster.service.wait_for_log("outcome=STORAGE_FULL")
        self.assertEqual(others.error, None)
        self.assertGreater(others.backed_up, 0)
        self.assert_nothing_is_left(blobs)
        self.assert_reads_work()
        self.assertEqual(json.loads(self.backupctl("--json", "status").stdout)["verified_version_count"],
                         len(self.kept) + others.backed_up)
        self.assert_all_is_well_again(self.keeper, b"endless")


class FullDiskTest(DiskTest):
    """A disk on which nothing is left: whatever makes room works, and then uploads go on by themselves."""

    def mount_tmpfs(self, *options):
        self.mount("-t", "tmpfs", "-o", ",".join([f"size={SMALL_DISK_SIZE}", *options]), "tmpfs")

    def mount_ext4(self, *options):
        self.mount_image(SMALL_DISK_SIZE, "mkfs.ext4", "-q", "-m", "0", *options)

    def mount_xfs(self):
        if not is_known("xfs"):
            print("NOT TESTED: a full XFS, which this kernel cannot mount", file=sys.stderr)
            self.skipTest("this kernel cannot mount XFS")
        self.mount_image(XFS_DISK_SIZE, "mkfs.xfs", "-q", "--unsupported")

    def fill_by_uploads(self):
        """Until large and then small files are refused."""
        self.names = {}
        for size in FILLING_SIZES:
            client = m.ModelClient(self.cluster.port, b"of %d" % size, version=1).sign_up()
            names = self.names[f"of {size}"] = []
            while self.is_stored(client, b"file %d" % len(names), size):
                names.append(f"file {len(names)}")
            self.assertGreater(len(names), 2)

    def is_stored(self, client, name, size):
        return self.is_backed_up(client, name, os.urandom(size))

    def run_well(self, *arguments):
        done = self.backupctl(*arguments)
        self.assertEqual(done.returncode, 0, f"{arguments}: {done.stdout} {done.stderr}")
        return done.stdout

    def delete(self, client, name):
        said = json.loads(self.run_well("--json", "file", "versions", client, name).splitlines()[0])
        self.run_well("file", "rm", client, name, "--version", str(said["version_id"]), "--yes")

    def make_room(self):
        """All that an operator does on a full disk."""
        blobs = len(self.stored("blobs"))
        large, small = self.names
        self.run_well("health")
        self.run_well("client", "list")
        self.delete(small, self.names[small][0])
        self.delete(large, self.names[large][0])
        self.run_well("trash", "empty", "--yes")
        wait_until(lambda: len(self.stored("blobs")) == blobs - 1, "a blob is swept")
        self.assert_reads_work()
        self.run_well("client", "rm", small, "--yes")
        self.run_well("client", "rm", large, "--yes")
        self.run_well("client", "undelete", large)
        self.run_well("client", "rm", large, "--yes")
        self.run_well("trash", "empty", "--yes")
        wait_until(lambda: len(self.stored("blobs")) == 1, "all blobs but the keeper's are swept")

    def assert_uploads_go_on(self):
        client = m.ModelClient(self.cluster.port, b"afterwards", version=1)
        wait_until(lambda: client.register() == m.REGISTERED, "a client may register")
        client.exchange_key()
        self.assert_all_is_well_again(client, b"large", FILLING_SIZES[0])

    def check_recovery(self):
        """Of a running process, and of one that was killed, whenever somebody takes what there is."""
        self.start_with_keeper()
        self.fill_by_uploads()
        self.fill_disk()
        small = list(self.names)[1]
        self.delete(small, self.names[small].pop())
        self.cluster.service.kill()
        self.fill_disk()
        self.cluster.start_service()
        self.fill_disk()
        self.make_room()
        self.assert_uploads_go_on()

    def test_deleting_makes_room_on_tmpfs(self):
        self.mount_tmpfs()
        self.check_recovery()

    def test_deleting_makes_room_on_ext4(self):
        self.mount_ext4()
        self.check_recovery()

    def test_deleting_makes_room_on_xfs(self):
        self.mount_xfs()
        self.check_recovery()

    def test_small_files_alone_give_their_room_back(self):
        """It is the catalog's, which nobody can delete."""
        self.mount_ext4()
        self.start_with_keeper()
        self.fill_by_uploads()
        self.fill_disk()
        small = list(self.names)[1]
        self.run_well("client", "rm", small, "--yes")
        self.run_well("trash", "empty", small, "--yes")
        wait_until(lambda: self.is_stored(self.keeper, b"another", SMALL), "a small file is stored")
        self.run_well("verify")

    def take_all_inodes(self):
        """Somebody else makes files until there can be no more."""
        folder = self.cluster.data_dir / "others"
        folder.mkdir(exist_ok=True)
        try:
            for number in itertools.count(len(list(folder.iterdir()))):
                (folder / str(number)).touch()
        except OSError:
            return

    def check_recovery_without_inodes(self):
        self.start_with_keeper()
        (self.cluster.data_dir / "others").mkdir()
        client = m.ModelClient(self.cluster.port, b"of many", version=1).sign_up()
        client.back_up(b"file 0", os.urandom(MEBIBYTE))
        self.take_all_inodes()
        self.assertFalse(self.is_stored(client, b"refused", MEBIBYTE))
        # Its end deletes the catalog's log, which its start must make.
        self.assertEqual(self.cluster.service.stop(), 0)
        self.take_all_inodes()
        self.cluster.start_service()
        self.take_all_inodes()
        self.assert_reads_work()
        self.delete("of many", "file 0")
        self.run_well("client", "rm", "of many", "--yes")
        self.run_well("trash", "empty", "--yes")
        wait_until(lambda: len(self.stored("blobs")) == 1, "all blobs but the keeper's are swept")
        shutil.rmtree(self.cluster.data_dir / "others")
        self.assert_uploads_go_on()

    def test_deleting_works_without_inodes_on_tmpfs(self):
        self.mount_tmpfs("nr_inodes=500")
        self.check_recovery_without_inodes()

    def test_deleting_works_without_inodes_on_ext4(self):
        self.mount_ext4("-N", "500")
        self.check_recovery_without_inodes()

    def test_a_program_that_reads_the_catalog_is_noticed_and_bounded(self):
        """The log cannot be emptied because of it; it takes at most half of what is free."""
        self.mount_ext4()
        self.start_with_keeper()
        shell = sqlite3.connect(f"file:{self.cluster.data_dir}/catalog.db?mode=ro", uri=True)
        self.addCleanup(shell.close)
        shell.execute("BEGIN")
        shell.execute("SELECT * FROM totals").fetchall()
        client = m.ModelClient(self.cluster.port, b"of 50000", version=1).sign_up()
        count = 0
        while self.is_stored(client, b"file", FILLING_SIZES[1]):
            count += 1
        log = self.cluster.data_dir / "catalog.db-wal"
        disk = os.statvfs(self.cluster.data_dir)
        self.assertGreater(count, 100)
        # It grows by a MiB, which is not there either.
        self.assertLess(log.stat().st_size, disk.f_bavail * disk.f_frsize + 3 * MEBIBYTE)
        self.cluster.service.wait_for_log("because something reads an old state of the catalog")
        self.cluster.service.wait_for_log("end the program that reads the catalog")
        shell.close()
        wait_until(lambda: self.is_stored(self.keeper, b"another", SMALL), "a small file is stored")
        wait_until(lambda: log.stat().st_size < 8 * MEBIBYTE, "the log is cut")


class Others(threading.Thread):
    """A client that backs up small files until it is told to stop."""

    def __init__(self, port):
        super().__init__()
        self.client = m.ModelClient(port, b"others", version=1).sign_up()
        self.stop = threading.Event()
        self.backed_up = 0
        self.error = None
        self.start()

    def run(self):
        try:
            while not self.stop.is_set():
                self.client.back_up(b"file", b"small")  # The faster the machine, the more of them.
                self.backed_up += 1
        except Exception as error:  # Shown by the main thread.
            self.error = error

    def end(self):
        self.stop.set()
        self.join(WAIT_S)


def is_known(file_system):
    """Whether the kernel can mount it."""
    lines = pathlib.Path("/proc/filesystems").read_text().splitlines()
    return any(line.split()[-1] == file_system for line in lines)


def may_mount():
    """Whether a file system in a file can be mounted here."""
    if os.geteuid() != 0:
        return False
    probe = "truncate -s 4M $0/disk && mkfs.ext4 -q -F $0/disk && mount -o loop $0/disk $0"
    script = f'set -e; folder=$(mktemp -d); trap "rm -rf $folder" EXIT; unshare --mount sh -c \'{probe}\' $folder'
    return subprocess.run(["sh", "-c", script], capture_output=True, timeout=WAIT_S).returncode == 0


if __name__ == "__main__":
    if IN_NAMESPACE in os.environ:
        unittest.main()
    if not may_mount():
        print("skipped: a small file system cannot be mounted here (this takes root and a loop device)")
        sys.exit(SKIPPED)
    # In a mount namespace of its own, so that nothing stays mounted whatever happens.
    os.execvpe("unshare", ["unshare", "--mount", sys.executable, *sys.argv], {**os.environ, IN_NAMESPACE: "1"})
