"""Content that is kept once, from outside: what hostile content costs, and kill -9 while packs are rewritten."""

import json
import os
import pathlib
import random
import re
import subprocess
import unittest

from cluster import BIN_DIR, ClusterTest, wait_until
from crash_backups import back_up_under_kills, check_acknowledged
from stored_files import backupctl, client_text

MEBIBYTE = 1 << 20
WAIT_S = 120
MEMORY_LIMIT = 256 * MEBIBYTE
# What the catalog and the ends of chunks may take beside content.
SLACK = 6 * MEBIBYTE
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "12"))
SEED = int(os.environ.get("CRASH_SEED", random.randrange(1 << 32)))
CLIENTS = 3
# Jobs without a pause.
HASTY_JOBS = ["--repack_interval=100ms", "--repack_rate=0", "--move_interval=100ms", "--sweep_interval=1s",
              "--trash_retention=1s", "--purge_interval=1s"]


def peak_memory(process):
    status = pathlib.Path(f"/proc/{process.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024


def size_of_blobs(cluster):
    return sum(path.stat().st_blocks * 512 for path in (cluster.data_dir / "store" / "blobs").glob("*/*"))


class HostileContentTest(ClusterTest):
    """Each is stored, costs little, and comes back."""

    def check(self, make, most_stored, flags=()):
        cluster = self.start(service_flags=list(flags))
        path = self.folder / "content"
        make(path)
        (self.folder / "transfer.info").write_text(f"127.0.0.1:{cluster.port}\nhostile\n{path}\n")
        subprocess.run([BIN_DIR / "legacy-client", f"--dir={self.folder}", "--quiet"], check=True, timeout=WAIT_S)
        self.assertLess(size_of_blobs(cluster), most_stored)
        out = self.folder / "out"
        backupctl(cluster.service, "--quiet", "file", "get", f"--out={out}", "hostile", "--", str(path))
        self.assertEqual(subprocess.run(["cmp", path, out], timeout=WAIT_S).returncode, 0)
        backupctl(cluster.service, "verify")
        for process in (cluster.bridge, cluster.service):
            self.assertLess(peak_memory(process), MEMORY_LIMIT, process.name)

    def test_a_gibibyte_of_zeros(self):
        def make(path):
            with open(path, "wb") as file:
                file.truncate(1024 * MEBIBYTE)
        self.check(make, SLACK)

    def test_the_same_chunk_again_and_again(self):
        block = random.Random(SEED).randbytes(MEBIBYTE)

        def make(path):
            with open(path, "wb") as file:
                for _ in range(200):
                    file.write(block)
        # Until boundaries repeat as the content does.
        self.check(make, 24 * MEBIBYTE + SLACK)

    def test_every_byte_for_long(self):
        """Of some bytes the rolling hash says everywhere that a chunk ends, of the others nowhere."""
        def make(path):
            with open(path, "wb") as file:
                for byte in range(256):
                    file.write(bytes([byte]) * (3 * MEBIBYTE // 2))
        self.check(make, 8 * MEBIBYTE + SLACK, ["--compression=3"])

    def test_what_shrinks_to_nothing_waits_for_nobody(self):
        """Compressed at once or later: the store never holds much of it when the jobs are done."""
        words = [b"%09d\n" % number for number in range(100)]
        dice = random.Random(SEED)

        def make(path):
            with open(path, "wb") as file:
                for _ in range(128):
                    file.write(b"".join(dice.choices(words, k=MEBIBYTE // 10)))
        cluster = self.start(service_flags=HASTY_JOBS)
        path = self.folder / "content"
        make(path)
        (self.folder / "transfer.info").write_text(f"127.0.0.1:{cluster.port}\nhostile\n{path}\n")
        subprocess.run([BIN_DIR / "legacy-client", f"--dir={self.folder}", "--quiet"], check=True, timeout=WAIT_S)
        wait_until(lambda: size_of_blobs(cluster) < 64 * MEBIBYTE, "all of it is compressed")
        backupctl(cluster.service, "verify")


# Files are made of blocks that all clients have.
BLOCKS = [random.Random(number).randbytes(400_000 + 150_000 * number) for number in range(6)]


def new_file(dice):
    parts = [dice.randbytes(dice.randrange(2000))]
    parts += dice.choices(BLOCKS, k=dice.randrange(1, 5))
    if dice.random() < 0.3:
        parts.append(dice.randbytes(500_000))  # Soon garbage.
    return b"f%d" % dice.randrange(8), b"".join(parts), dice.random() < 0.4


class CrashTest(ClusterTest):
    def test_what_was_acknowledged_survives_kill_9_while_packs_are_rewritten(self):
        print(f"CRASH_SEED={SEED} CRASH_ROUNDS={ROUNDS}")
        cluster = self.start(service_flags=HASTY_JOBS)
        names = [b"chunk client %d" % number for number in range(CLIENTS)]
        backups = back_up_under_kills(cluster, names, new_file, SEED, ROUNDS)
        check_acknowledged(self, cluster, backups)
        jobs = {job["name"]: job for job in json.loads(backupctl(cluster.service, "--json", "status"))["jobs"]}
        self.assertGreater(int(jobs["repack"]["total_count"]), 0)
        backupctl(cluster.service, "verify")
        self.check_everything_goes(cluster, [backup.client for backup in backups])

    def check_everything_goes(self, cluster, clients):
        for client in clients:
            backupctl(cluster.service, "client", "rm", "--yes", client_text(client.id))
        wait_until(lambda: size_of_blobs(cluster) == 0, "nothing is left in the store")


if __name__ == "__main__":
    unittest.main()
