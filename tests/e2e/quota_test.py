"""Quotas as an operator sets them, and what clients meet: old ones through the bridge, and backupctl."""

import concurrent.futures
import json
import subprocess
import unittest

import model_client as m
from cluster import BIN_DIR, ClusterTest

WAIT_S = 60
OK, FAILED, USAGE, NO_SUCH_OBJECT = 0, 1, 2, 10
LARGE = 3 << 20
MORE_THAN_IS_DRAINED = 100 << 20  # The bridge reads 64 MiB before it closes.
TRIES = 4  # An old client sends a file so often when the answer is a general error.


class QuotaTest(ClusterTest):
    def setUp(self):
        super().setUp()
        self.cluster = self.start()

    def backupctl(self, *arguments, code=OK):
        done = subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", *arguments],
                              capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def json_lines(self, *arguments):
        return [json.loads(line) for line in self.backupctl("--json", *arguments).splitlines()]

    def use(self, *scope):
        use = self.json_lines("client", "quota", "show", *scope)[0]
        return use["used_bytes"], use["used_files"]

    def legacy_client(self, folder, files):
        """Its exit code and what it says of each file."""
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / "transfer.info").write_text("\n".join([f"127.0.0.1:{self.cluster.port}", "laptop", *files]) + "\n")
        done = subprocess.run([BIN_DIR / "legacy-client", f"--dir={folder}"], capture_output=True, text=True, timeout=WAIT_S)
        return done.returncode, done.stdout + done.stderr

    def test_an_old_client_meets_its_hard_quota_and_keeps_what_it_has(self):
        code, said = self.legacy_client(self.folder / "laptop", {"small": b"good", "large": bytes(range(256)) * (LARGE // 256)})
        self.assertEqual(code, OK, said)
        self.assertIn("held to from now on: 3.0 MiB used, hard 4.0 MiB; 2 files used",
                      self.backupctl("client", "quota", "set", "laptop", "--hard-bytes=4M"))
        before = self.json_lines("file", "list", "laptop")
        sizes = (LARGE, 2 << 20, MORE_THAN_IS_DRAINED)  # One more of the large one, and other ones.
        for refused_files, size in enumerate(sizes, start=1):
            code, said = self.legacy_client(self.folder / "laptop", {"large": bytes(size)})
            self.assertNotEqual(code, OK, said)
            self.cluster.service.wait_for_log("outcome=CLIENT_QUOTA", count=refused_files * TRIES)
        self.assertEqual(self.json_lines("file", "list", "laptop"), before)
        self.assertEqual(self.use("laptop"), (LARGE + 4, 2))
        self.backupctl("restore", "--client", "laptop", "--to", str(self.folder / "restored"))
        self.assertEqual((self.folder / "restored" / "small").read_bytes(), b"good")
        # What fits still comes, and with more room all does.
        self.assertEqual(self.legacy_client(self.folder / "laptop", {"small": b"fits"})[0], OK)
        self.backupctl("client", "quota", "set", "laptop", "--hard-bytes=1G")
        self.assertEqual(self.legacy_client(self.folder / "laptop", {"large": bytes(LARGE)})[0], OK)
        self.assertEqual(self.cluster.service.log().count("outcome=CLIENT_QUOTA"), len(sizes) * TRIES)

    def test_uploads_at_once_do_not_pass_a_limit_together(self):
        client = m.ModelClient(self.cluster.port, b"laptop").sign_up()
        size, fitting = 1000, 5
        self.backupctl("client", "quota", "set", "laptop", f"--hard-bytes={fitting * size + size - 1}")

        def send(number):
            try:
                client.back_up(f"file {number}".encode(), bytes([number]) * size, m.Connection(self.cluster.port))
                return True
            except ConnectionError:
                return False
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            self.assertEqual(sum(pool.map(send, range(16))), fitting)
        self.assertEqual(self.use("laptop"), (fitting * size, fitting))
        # After a kill the service knows the same.
        self.cluster.service.kill()
        self.cluster.start_service()
        self.assertEqual(self.use("laptop"), (fitting * size, fitting))
        with self.assertRaisesRegex(ConnectionError, "refused"):
            client.send_file(b"one more", bytes(size))

    def test_backupctl_is_told_why(self):
        source = self.folder / "source"
        source.write_bytes(b"12345")
        client = m.ModelClient(self.cluster.port, b"laptop").sign_up()
        client.back_up(b"file", b"12345")
        self.backupctl("client", "quota", "set", "--store", "--hard-bytes=9", "--hard-files=1")
        said = self.backupctl("file", "put", "laptop", str(source), "--name", "file", code=FAILED)
        self.assertIn("the quota of the store does not allow it: hard_bytes is 9, 5 are used and 5 would come", said)
        self.assertIn("`backupctl client quota show`", said)
        source.write_bytes(b"1")
        self.assertIn("hard_files is 1", self.backupctl("file", "put", "laptop", str(source), "--name", "new", code=FAILED))
        self.backupctl("file", "put", "laptop", str(source), "--name", "file")
        self.backupctl("file", "rm", "laptop", "file", "--all", "--yes")
        self.assertEqual(self.use("--store"), (6, 1))
        self.assertEqual(self.use("laptop"), (0, 0))
        self.backupctl("trash", "empty", "--yes")
        self.assertEqual(self.use("--store"), (0, 0))
        self.assertIn("Quota", self.backupctl("status"))

    def test_a_soft_quota_is_told_of(self):
        client = m.ModelClient(self.cluster.port, b"laptop").sign_up()
        self.backupctl("client", "quota", "set", "--every-client", "--soft-bytes=9")
        for content in (b"12345", b"1234", b"1", b"2"):
            client.back_up(b"file", content)
        self.cluster.service.wait_for_log("beyond a soft quota")
        self.assertEqual(self.cluster.service.log().count("soft_bytes=9 used=10"), 1)
        self.assertEqual(self.cluster.service.log().count("beyond a soft quota"), 1)
        self.assertIn("11 B used, soft 9 B (exceeded); 1 files used; every client's", self.backupctl("client", "show", "laptop"))
        self.assertIn("1 clients use more than a soft limit", self.backupctl("status"))

    def test_what_makes_no_sense_is_refused_and_changes_nothing(self):
        client = m.ModelClient(self.cluster.port, b"laptop").sign_up()
        client.back_up(b"file", b"12345")
        for arguments, told in ((["laptop", "--hard-bytes=4"], "quota.hard_bytes would be 4, less than the 5 that client"),
                                (["--store", "--hard-bytes=4"], "less than the 5 that the store uses"),
                                (["--every-client", "--hard-bytes=4"], "less than the 5 that client"),
                                (["laptop", "--hard-files=-1"], "quota.hard_files is -1, it must be from 0 to"),
                                (["laptop", "--hard-bytes=-1"], "--hard-bytes: -1 is no size"),
                                (["laptop", "--soft-bytes=much"], "--soft-bytes: much is no size such as 500M"),
                                (["laptop", "--soft-bytes=2K", "--hard-bytes=1K"], "more than quota.hard_bytes"),
                                (["laptop"], "quota has no limit"),
                                (["nobody", "--hard-bytes=1"], "nobody")):
            code = NO_SUCH_OBJECT if "nobody" in arguments else USAGE
            self.assertIn(told, self.backupctl("client", "quota", "set", *arguments, code=code))
        for arguments in (["--hard-bytes=1"], ["laptop", "--store", "--hard-bytes=1"]):
            self.assertIn("give one of CLIENT", self.backupctl("client", "quota", "set", *arguments, code=USAGE))
        self.assertIn("--hard-files", self.backupctl("client", "quota", "set", "laptop", "--hard-files=many", code=USAGE))
        self.assertIn("there is no quota", self.backupctl("client", "quota", "show"))
        self.assertIn("there was no such quota", self.backupctl("client", "quota", "rm", "--store"))


if __name__ == "__main__":
    unittest.main()
