"""Kills the service with SIGKILL at random moments under load; afterwards every acknowledged file must be there, equal.

CRASH_ROUNDS (default 50) and CRASH_SEED (default: random, printed) repeat a run."""

import os
import random
import tempfile
import threading
import time
import unittest

import model_client as m
from cluster import Cluster
from stored_files import all_newest_verified, name_text

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "50"))
SEED = int(os.environ.get("CRASH_SEED", random.randrange(1 << 32)))
CLIENTS = 4
# Some live in the catalog and some in blobs.
SIZES = (100, 5_000, 70_000, 300_000)


class Backup(threading.Thread):
    """One client that backs up files without pause and remembers what was acknowledged."""

    def __init__(self, port, number, stop):
        super().__init__()
        self.client = m.ModelClient(port, b"crash client %d" % number, version=1)
        self.random = random.Random(SEED + number)
        self.stop = stop
        self.acknowledged = {}
        self.doubtful = {}
        self.failures = 0

    def run(self):
        self.client.sign_up()
        serial = 0
        while not self.stop.is_set():
            serial += 1
            name = b"f%d" % (serial % 20)
            content = self.random.randbytes(self.random.choice(SIZES))
            # Between sending the verdict and its answer, either version may be the newest.
            self.doubtful[name] = content
            try:
                self.client.back_up(name, content)
            except (OSError, AssertionError):
                self.failures += 1
                continue
            self.acknowledged[name] = content
            del self.doubtful[name]


class CrashTest(unittest.TestCase):
    def test_what_was_acknowledged_survives_kill_9(self):
        print(f"CRASH_SEED={SEED} CRASH_ROUNDS={ROUNDS}")
        pause = random.Random(SEED)
        with tempfile.TemporaryDirectory() as directory, Cluster(directory) as cluster:
            stop = threading.Event()
            backups = [Backup(cluster.port, number, stop) for number in range(CLIENTS)]
            for backup in backups:
                backup.start()
            try:
                for _ in range(ROUNDS):
                    time.sleep(pause.uniform(0.1, 1.0))  # The random moment of the kill.
                    cluster.service.kill()
                    cluster.start_service()
            finally:
                stop.set()
                for backup in backups:
                    backup.join()
            checked = 0
            for backup in backups:
                stored = all_newest_verified(cluster.service, backup.client.id)
                for name, content in backup.acknowledged.items():
                    self.assertIn(stored.get(name_text(name)), (content, backup.doubtful.get(name)), name)
                    checked += 1
            failures = sum(backup.failures for backup in backups)
            print(f"{checked} acknowledged files are there and equal; {failures} transfers were told to have failed")
            self.assertGreater(checked, CLIENTS)


if __name__ == "__main__":
    unittest.main()
