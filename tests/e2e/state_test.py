"""The drill of docs/operations.md, played as it stands there: the catalog is lost, cut, changed, or replaced by an older copy, and
everything that a snapshot or the store has comes back."""

import contextlib
import json
import pathlib
import random
import re
import shutil
import sqlite3
import subprocess
import unittest

import model_client as m
from cli_test import CliTest, DAMAGED, NO_SUCH, OK
from cluster import BIN_DIR, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRILL = re.compile(r"^### The drill\n.*?^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
DATA_IN_PAGE = "/var/lib/backup"
IN_USE = 11
MIB = 1 << 20


def commands_of_the_drill():
    return DRILL.search((ROOT / "docs" / "operations.md").read_text()).group(1)


class StateTest(CliTest):
    def setUp(self):
        super().setUp()
        self.source = random.Random(38)
        self.elsewhere = self.folder / "elsewhere"
        self.large, self.small = {}, {}

    def start(self, *flags):
        super().start(service_flags=["--snapshot_interval=0s", f"--snapshot_dir={self.elsewhere}", *flags])
        self.data = self.cluster.data_dir
        self.catalog = self.data / "catalog.db"
        self.client = m.ModelClient(self.cluster.port, b"old client").sign_up()

    def back_up(self, name, size, files):
        content = self.source.randbytes(size)
        self.client.back_up(name, content)
        files[name.decode()] = content

    def live(self):
        """Small and large files, a snapshot, and large files after it."""
        for number in range(3):
            self.back_up(b"large %d" % number, 2 * MIB, self.large)
            self.back_up(b"small %d" % number, 3000, self.small)
        self.backupctl("state", "backup")
        self.after = {}
        for number in range(3):
            self.back_up(b"later %d" % number, 3 * MIB, self.after)
        self.back_up(b"lost", 2000, {})

    def kill(self):
        self.cluster.service.kill()

    def offline(self, *arguments, code=OK):
        return self.run_program("backupctl", *arguments, f"--data_dir={self.data}", code=code)

    def refused_start(self, *texts):
        done = subprocess.run([BIN_DIR / "backup-service", f"--data_dir={self.data}", "--listen=127.0.0.1:0"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, DAMAGED, done.stderr)
        for text in ("backupctl state rebuild", *texts):
            self.assertIn(text, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def drill(self):
        script = "set -euo pipefail\n" + commands_of_the_drill().replace(DATA_IN_PAGE, str(self.data))
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=300,
                              env={"PATH": f"{BIN_DIR.resolve()}:/usr/bin:/bin"})
        self.assertEqual(done.returncode, OK, done.stdout + done.stderr)
        return done.stdout

    def check_all_is_there(self):
        """What was confirmed before the snapshot is restored, and what came later is there by its version."""
        self.backupctl("verify")
        restored = self.folder / "restored"
        shutil.rmtree(restored, ignore_errors=True)
        self.backupctl("restore", "--client", "old client", "--to", str(restored))
        for name, content in {**self.large, **self.small}.items():
            self.assertEqual((restored / name).read_bytes(), content, name)
        for name, content in self.after.items():
            version = self.json_lines("file", "versions", "old client", name)[0]
            got = self.folder / "got"
            self.backupctl("file", "get", "old client", name, "--version", str(version["version_id"]), "-o", str(got), "--force")
            self.assertEqual(got.read_bytes(), content, name)

    def check_the_client_goes_on(self):
        known = self.client.id, self.client.aes
        self.assertEqual(self.client.reconnect(), m.RECONNECTED)
        self.assertEqual((self.client.id, self.client.aes), known)
        for name in list(self.after):
            self.client.back_up(name.encode(), self.after[name])
        self.large.update(self.after)
        self.back_up(b"next", 2 * MIB, self.large)
        ids = [version["version_id"] for file in self.json_lines("file", "list", "old client")
               for version in self.json_lines("file", "versions", "old client", file["file_name"])]
        self.assertEqual(len(ids), len(set(ids)))
        self.after = {}
        self.check_all_is_there()

    def recover(self):
        table = self.drill()
        self.assertRegex(table, r"Versions after it: +3 ")
        self.assertRegex(table, r"Not saved: +0\n")
        with contextlib.closing(sqlite3.connect(self.catalog)) as catalog:
            kept = catalog.execute("SELECT count(*) FROM versions WHERE retain_until > receive_time").fetchone()
        self.assertEqual(kept, (3,))
        self.cluster.start_service()
        self.check_all_is_there()
        self.check_the_client_goes_on()

    def test_the_catalog_is_deleted(self):
        self.start()
        self.live()
        self.kill()
        for path in self.data.glob("catalog.db*"):
            path.unlink()
        self.refused_start("missing")
        self.recover()

    def test_the_catalog_is_cut(self):
        self.start("--at_rest=sealed")
        self.live()
        self.assertEqual(self.cluster.service.stop(), 0)
        size = self.catalog.stat().st_size
        for left in (0, 1, 100, size // 2 // 4096 * 4096):
            with open(self.catalog, "r+b") as file:
                file.truncate(left)
            if left < 4096:
                self.refused_start()
        self.recover()

    def test_bytes_of_the_catalog_are_changed(self):
        self.start()
        self.live()
        self.assertEqual(self.cluster.service.stop(), 0)
        content = self.catalog.read_bytes()
        self.catalog.write_bytes(b"\0" * 16 + content[16:])  # The header.
        self.refused_start()
        # Somewhere in the middle: it starts, notices it, and writes nothing any more.
        middle = len(content) // 2 // 4096 * 4096
        self.catalog.write_bytes(content[:middle] + b"\x7f" * 8192 + content[middle + 8192:])
        self.cluster.start_service()
        self.cluster.service.wait_for_log("nothing is written to the catalog any more")
        before = self.catalog.read_bytes()
        with self.assertRaises(Exception):
            self.client.back_up(b"refused", b"content")
        self.assertEqual(self.backupctl("state", "backup", code=1).stderr.count("backupctl state rebuild"), 1)
        self.backupctl("client", "list")
        self.assertEqual(self.catalog.read_bytes(), before)
        self.kill()
        self.recover()

    def test_an_older_copy_of_the_catalog_is_put_in_place(self):
        self.start()
        self.back_up(b"first", 100, self.small)
        self.assertEqual(self.cluster.service.stop(), 0)
        older = self.folder / "older.db"
        shutil.copy(self.catalog, older)
        self.cluster.start_service()
        self.client.reconnect()
        self.live()
        self.assertEqual(self.cluster.service.stop(), 0)
        shutil.copy(older, self.catalog)
        self.refused_start("older than the store", "backupctl state accept")
        self.recover()

    def test_an_older_copy_may_be_accepted(self):
        self.start()
        self.assertEqual(self.cluster.service.stop(), 0)
        older = self.folder / "older.db"
        shutil.copy(self.catalog, older)
        self.cluster.start_service()
        self.live()
        self.assertEqual(self.cluster.service.stop(), 0)
        shutil.copy(older, self.catalog)
        self.offline("state", "accept")
        self.cluster.start_service()
        self.assertEqual(self.json_lines("file", "list", "old client"), [])

    def test_without_a_snapshot_that_can_be_read_large_files_come_back(self):
        self.start()
        self.live()
        self.kill()
        for path in (*self.data.glob("catalog.db*"), *self.data.glob("store/snapshots/*"), *self.elsewhere.glob("*")):
            path.unlink()
        table = self.offline("state", "rebuild").stdout
        self.assertRegex(table, r"Snapshot: +none")
        self.assertRegex(table, r"Versions after it: +6 ")
        self.assertRegex(table, r"Clients after it: +1 ")
        self.cluster.start_service()
        self.backupctl("verify")
        name = self.json_lines("client", "list")[0]["name"]
        self.assertTrue(name.startswith("recovered "), name)
        for file, content in {**self.large, **self.after}.items():
            version = self.json_lines("file", "versions", name, file)[0]
            got = self.folder / "got"
            self.backupctl("file", "get", name, file, "--version", str(version["version_id"]), "-o", str(got), "--force")
            self.assertEqual(got.read_bytes(), content)
        # Its key is not known: it is denied as an unknown client is, and registers again.
        self.assertNotEqual(self.client.reconnect(), m.RECONNECTED)
        again = m.ModelClient(self.cluster.port, b"old client").sign_up()
        again.back_up(b"file", b"content")
        self.assertNotEqual(again.aes, self.client.aes)
        self.assertNotEqual(again.aes, m.ModelClient(self.cluster.port, b"another client").sign_up().aes)

    def test_a_client_that_was_taken_back_since_the_snapshot(self):
        self.start()
        self.back_up(b"before", 2 * MIB, self.large)
        self.backupctl("client", "rm", "old client", "--yes")
        self.backupctl("state", "backup")
        self.backupctl("client", "undelete", "old client")
        self.after = {}
        self.client.reconnect()
        self.back_up(b"later", 2 * MIB, self.after)
        self.kill()
        for path in self.data.glob("catalog.db*"):
            path.unlink()
        self.assertRegex(self.offline("state", "rebuild").stdout, r"Not saved: +0\n")
        self.cluster.start_service()
        self.check_all_is_there()

    def test_what_was_repacked_since_the_snapshot_is_found(self):
        self.start("--repack_rate=0", "--repack_interval=0s")
        for number in range(8):
            self.back_up(b"file %d" % number, 2 * MIB, self.large)
        self.backupctl("state", "backup")
        before = {path.name for path in self.data.glob("store/blobs/*/*")}
        self.cluster.service.stop()
        self.cluster.service_flags[-1] = "--repack_interval=1s"
        self.cluster.start_service()
        wait_until(lambda: not before & {path.name for path in self.data.glob("store/blobs/*/*")}, "all is repacked")
        self.kill()
        for path in self.data.glob("catalog.db*"):
            path.unlink()
        self.assertRegex(self.offline("state", "rebuild").stdout, r"Not saved: +0\n")
        self.cluster.start_service()
        self.after = {}
        self.check_all_is_there()

    def test_what_is_gone_is_named(self):
        self.start()
        self.live()
        self.kill()
        # The oldest: of a file that the snapshot knows.
        min(self.data.glob("store/blobs/*/*"), key=lambda path: path.stat().st_mtime_ns).unlink()
        done = self.offline("state", "rebuild", code=DAMAGED)
        self.assertRegex(done.stderr, r"not saved: version \d+ of large 0 of client ")
        self.assertRegex(done.stdout, r"Not saved: +1\n")

    def test_snapshots_are_taken_listed_and_restored(self):
        self.start()
        self.live()
        listed = self.json_lines_offline("state", "list", f"--snapshot_dir={self.elsewhere}")
        self.assertEqual(len(listed), 2)
        self.assertTrue(all(each["is_readable"] for each in listed))
        self.assertEqual({pathlib.Path(each["path"]).parent for each in listed},
                         {self.data / "store" / "snapshots", self.elsewhere})
        self.offline("state", "restore", code=IN_USE)
        self.kill()
        self.offline("state", "backup")
        self.assertEqual(len(self.json_lines_offline("state", "list")), 2)
        self.offline("state", "restore", f"--snapshot={listed[0]['path']}")
        self.assertEqual(len(list(self.data.glob("aside-*/catalog.db"))), 1)
        self.after = {}
        self.cluster.start_service()
        self.check_all_is_there_but_orphans()
        self.offline("state", "restore", "--snapshot=/nowhere", code=IN_USE)
        self.kill()
        self.offline("state", "restore", "--snapshot=/nowhere", code=NO_SUCH)

    def json_lines_offline(self, *arguments):
        return [json.loads(line) for line in self.offline("--json", *arguments).stdout.splitlines()]

    def check_all_is_there_but_orphans(self):
        self.assertIn("ORPHAN", self.backupctl("verify").stdout)
        self.check_all_is_there()

    def test_the_job_takes_one_when_something_changed(self):
        self.start("--snapshot_interval=1s")
        self.back_up(b"first", 100, self.small)
        snapshots = lambda: len(list(self.elsewhere.glob("*.snapshot")))
        wait_until(lambda: snapshots() > 0, "a snapshot is taken")
        count = snapshots()
        self.back_up(b"second", 100, self.small)
        wait_until(lambda: snapshots() > count, "another one is taken")
        self.assertIn("snapshot", [job["name"] for job in self.json_lines("status")[0]["jobs"]])


if __name__ == "__main__":
    unittest.main()
