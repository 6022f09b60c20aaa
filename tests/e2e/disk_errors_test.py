"""Calls of the kernel that fail for a moment, of the real service (strace): nothing that was acknowledged suffers, and what is said
is what helps. Skipped (exit code 77) where one process may not trace another."""

import random
import sys
import unittest

import journal as j
import system_calls
from cluster import ClusterTest, wait_until
from journaled_clients import LegacyPlayer, until_served
from oracle import Oracle

SKIPPED = 77
READ_ONLY = "nothing is written to the catalog any more"
SIZES = (100, 70_000, 3 << 20)


class DiskErrorsTest(ClusterTest):
    def setUp(self):
        super().setUp()
        self.cluster = self.start()
        self.journal = j.Journal(self.folder / "journal")
        self.addCleanup(self.journal.close)
        self.player = LegacyPlayer(self.journal, self.cluster.port, "client", random.Random(1)).sign_up()
        self.back_up_all()

    def back_up_all(self):
        for size in SIZES:
            until_served(lambda: self.assertTrue(self.back_up(size)))

    def back_up(self, size):
        return self.player.transfer(f"file {size}", self.player.dice.randbytes(size))

    def failing(self, call, error="EIO"):
        return system_calls.injected(self.cluster.service.process.pid, call, f"error={error}", "1+")

    def assert_nothing_is_lost(self):
        self.assertEqual(list(map(str, Oracle(self.journal, self.cluster.service_port).check())), [])

    def test_a_catalog_that_cannot_be_read_for_a_moment(self):
        """SQLite says that it is damaged; a new start is enough, and the service says so."""
        with self.failing("pread64"):
            wait_until(lambda: not self.back_up(SIZES[0]) and READ_ONLY in self.cluster.service.log(), "it is met")
        self.assertIn("the disk failed to read it: if it can again, a new start of the service is enough", self.cluster.service.log())
        self.assertFalse(self.back_up(SIZES[0]))
        self.assertEqual(self.cluster.service.stop(), 0)
        self.cluster.start_service()
        self.back_up_all()
        self.assert_nothing_is_lost()

    def test_calls_that_fail_while_files_come(self):
        """Whatever fails, nobody is told that a file is stored, and afterwards all goes on without a new start."""
        for call in ("fdatasync", "fsync", "pwrite64", "renameat2", "rename", "fallocate", "openat", "io_uring_enter"):
            for error in system_calls.errors_of(call)[:2]:
                with self.subTest(call=call, error=error):
                    with self.failing(call, error):
                        for size in SIZES:
                            self.back_up(size)
                    self.back_up_all()
        self.assertIsNone(self.cluster.service.process.poll())
        self.assert_nothing_is_lost()


if __name__ == "__main__":
    if not system_calls.is_there():
        print("skipped: strace(1) is missing, or may not trace (ptrace)")
        sys.exit(SKIPPED)
    unittest.main()
