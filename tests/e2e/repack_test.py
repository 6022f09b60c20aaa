"""Room comes back from the real service when content goes, whenever it is killed; and people see what is kept."""

import random
import time
import unittest

from cli_test import CliTest
from cluster import wait_until

MIB = 1 << 20


class RepackTest(CliTest):
    def start_with_garbage(self):
        """Ten files of their own content, six of which are deleted, before anything is repacked: what a run between two
        deletions merges may stay as it is afterwards, because most of it is alive."""
        self.start(service_flags=["--repack_rate=0", "--trash_retention=0s", "--repack_interval=0s"])
        source = random.Random(17)
        self.files = {f"file{number}": source.randbytes(3 * MIB) for number in range(10)}
        # All at once, so that they are in few packs only if something merges them.
        self.legacy_client(self.client_folder(self.files))
        self.delete_files(0, 1, 2, 4, 5, 7)

    def delete_files(self, *numbers):
        for number in numbers:
            self.backupctl("file", "rm", "laptop", f"file{number}", "--yes")
            del self.files[f"file{number}"]

    def restart_service(self, repack_interval):
        self.cluster.service.kill()
        self.cluster.service_flags[-1] = f"--repack_interval={repack_interval}"
        self.cluster.start_service()

    def status(self):
        return self.json_lines("status")[0]

    def disk_bytes(self):
        return sum(self.cluster.blob_sizes().values())

    def assert_all_is_there(self):
        self.backupctl("verify")
        restored = self.folder / f"restored{time.monotonic_ns()}"
        self.backupctl("restore", "--client", "laptop", "--to", str(restored))
        for name, content in self.files.items():
            self.assertEqual((restored / name).read_bytes(), content)

    def test_room_comes_back_and_status_tells(self):
        self.start_with_garbage()
        self.restart_service("1h")
        wait_until(lambda: self.disk_bytes() < 13 * MIB, "the room of what was deleted comes back")
        status = self.status()
        self.assertEqual(status["stored_bytes"], 12 * MIB)
        self.assertEqual(status["unique_bytes"], 12 * MIB)
        self.assertLess(status["garbage_bytes"], MIB)
        # The job may still be about it.
        wait_until(lambda: self.status()["physical_bytes"] == self.disk_bytes(), "status tells what is on the disk")
        self.assertIn("repack", [job["name"] for job in status["jobs"]])
        text = self.backupctl("status").stdout
        self.assertRegex(text, r"Kept once: +12\.0 MiB unique, 12\.0 MiB compressed\n")
        self.assertRegex(text, r"On disk: +12\.\d MiB beside the catalog, in it ")
        self.assert_all_is_there()
        # Long before the job's next turn.
        self.delete_files(3, 6)
        wait_until(lambda: self.disk_bytes() < 7 * MIB, "half of a pack comes back once it is deleted")
        self.assert_all_is_there()

    def test_no_room_is_lost_however_often_it_is_killed(self):
        self.start_with_garbage()
        for delay in (0, 0.01, 0.02, 0.03, 0.05, 0.08):
            self.restart_service("1s")
            time.sleep(delay)  # What is killed is different each time; nothing is waited for.
        self.restart_service("1s")
        wait_until(lambda: self.disk_bytes() < 13 * MIB, "the room of what was deleted comes back")
        self.assert_all_is_there()

    def test_clients_are_told_what_is_kept_of_theirs(self):
        self.start()
        content = random.Random(18).randbytes(2 * MIB)
        self.legacy_client(self.client_folder({"a": content, "b": content}))
        client = self.json_lines("client", "show", "laptop")[0]
        self.assertEqual(client["stored_bytes"], 4 * MIB)
        self.assertGreaterEqual(client["kept_bytes"], 2 * MIB)
        self.assertLess(client["kept_bytes"], 2.1 * MIB)
        self.assertRegex(self.backupctl("client", "show", "laptop").stdout,
                         r"Stored: +4\.0 MiB\nKept: +2\.0 MiB\nRatio: +2\.0\n")
        head, row = self.backupctl("client", "list", "--sizes").stdout.splitlines()
        self.assertEqual(head.split(), ["NAME", "CLIENT", "ID", "STORED", "KEPT", "RATIO"])
        self.assertEqual(row.split(), ["laptop", client["client_id"], "4.0", "MiB", "2.0", "MiB", "2.0"])


if __name__ == "__main__":
    unittest.main()
