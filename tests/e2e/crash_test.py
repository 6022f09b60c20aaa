"""Kills the service with SIGKILL at random moments under load; afterwards every acknowledged file must be there, equal.

CRASH_ROUNDS (default 50) and CRASH_SEED (default: random, printed) repeat a run."""

import os
import random
import unittest

from cluster import ClusterTest
from crash_backups import back_up_under_kills, check_acknowledged

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "50"))
SEED = int(os.environ.get("CRASH_SEED", random.randrange(1 << 32)))
CLIENTS = 4
FILES = 20
# Some live in the catalog and some in blobs.
SIZES = (100, 5_000, 70_000, 300_000)


def new_file(dice):
    return b"f%d" % dice.randrange(FILES), dice.randbytes(dice.choice(SIZES)), False


class CrashTest(ClusterTest):
    def test_what_was_acknowledged_survives_kill_9(self):
        print(f"CRASH_SEED={SEED} CRASH_ROUNDS={ROUNDS}")
        cluster = self.start()
        names = [b"crash client %d" % number for number in range(CLIENTS)]
        check_acknowledged(self, cluster, back_up_under_kills(cluster, names, new_file, SEED, ROUNDS))


if __name__ == "__main__":
    unittest.main()
