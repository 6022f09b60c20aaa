"""How fast a store grew and when its disk is full: as `backupctl status` and the metrics say it, of what the service noted."""

import contextlib
import os
import sqlite3
import time
import unittest

import exposition
from cli_test import CliTest
from cluster import wait_until

MIB = 1 << 20
LARGE = 100 * MIB
DAY_S = 24 * 3600


class GrowthTest(CliTest):
    def start(self):
        self.port_file = self.folder / "operations.port"
        super().start(service_flags=["--operations_listen=127.0.0.1:0", f"--operations_bound_port_file={self.port_file}"])

    def notes(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.cluster.data_dir}/catalog.db?mode=ro", uri=True)) as catalog:
            return catalog.execute("SELECT time, disk_bytes, stored_bytes FROM size_notes ORDER BY time").fetchall()

    def set_notes(self, notes):
        """Each so many days ago, with what was kept then, and the service starts again."""
        self.assertEqual(self.cluster.service.stop(), 0)
        with contextlib.closing(sqlite3.connect(self.cluster.data_dir / "catalog.db")) as catalog:
            catalog.execute("DELETE FROM size_notes")
            catalog.executemany("INSERT INTO size_notes VALUES (?, ?, ?)",
                                [(int((time.time() - days * DAY_S) * 1e6), disk, stored) for days, disk, stored in notes])
            catalog.commit()
        self.cluster.start_service()

    def status(self):
        return self.json_lines("status")[0]

    def test_what_is_kept_is_noted_and_told(self):
        self.start()
        wait_until(self.notes, "sizes are noted at the start")
        self.legacy_client(self.client_folder({"file": os.urandom(3 * MIB)}))
        self.backupctl("state", "backup")
        status = self.status()
        snapshots = list((self.cluster.data_dir / "store" / "snapshots").iterdir())
        self.assertEqual(status["snapshots"]["count"], len(snapshots))
        self.assertEqual(status["snapshots"]["size_bytes"], sum(file.stat().st_size for file in snapshots))
        self.assertIn("newest_time", status["snapshots"])
        self.assertAlmostEqual(status["catalog_bytes"], (self.cluster.data_dir / "catalog.db").stat().st_size, delta=MIB)
        self.assertGreater(status["room_bytes"], 0)
        # Not of less than a day.
        self.assertEqual(status["growth"], [])
        self.assertNotIn("days_until_full", status)
        text = self.backupctl("status").stdout
        self.assertRegex(text, r"Growth: +not known yet: less than a day was measured\n")
        self.assertRegex(text, rf"Snapshots: +{len(snapshots)}, .*, the newest one of ")

        # A young store says over how many days it is, and not when the disk is full.
        taken = status["physical_bytes"] + status["catalog_bytes"] + status["snapshots"]["size_bytes"]
        large = status["room_bytes"] // 90
        self.set_notes([(6, taken - 6 * large, 3 * MIB), (1, taken, 3 * MIB)])
        wait_until(lambda: len(self.notes()) == 3, "one is noted at the start")
        status = self.status()
        self.assertEqual([round(growth["period"] / DAY_S) for growth in status["growth"]], [1, 6, 6])
        self.assertAlmostEqual(status["growth"][1]["disk_bytes_per_day"], large, delta=large / 10)
        self.assertAlmostEqual(status["growth"][1]["stored_bytes_per_day"], 0, delta=10)
        self.assertNotIn("days_until_full", status)
        text = self.backupctl("status").stdout
        self.assertRegex(text, r"Growth, 7 days: +\S+ [KMGT]iB a day on the disk, .* of what is stored; measured over 6 days\n")
        self.assertRegex(text, r"Room left: +\S+ [MGT]iB\n")

        self.set_notes([(8.1, taken - 7 * large, 3 * MIB), (7.01, taken - 7 * large, 3 * MIB)])
        wait_until(lambda: len(self.notes()) == 3, "one is noted at the start")
        status = self.status()
        self.assertAlmostEqual(status["days_until_full"], status["room_bytes"] / status["growth"][1]["disk_bytes_per_day"],
                               delta=status["days_until_full"] / 100)
        self.assertRegex(self.backupctl("status").stdout, r"Room left: +\S+ [MGT]iB, full in about \d+ days if it fills as in the last 7 days\n")

        self.set_notes([(8.1, taken - 14 * status["room_bytes"], 3 * MIB)])
        self.assertRegex(self.backupctl("status").stdout, r"Room left: +\S+ [MGT]iB, full within a day if it fills as in the last 7 days\n")

    def test_what_cannot_be_looked_at_is_not_told(self):
        self.start()
        wait_until(self.notes, "sizes are noted at the start")
        _, disk, stored = self.notes()[0]
        self.set_notes([(8, disk, stored), (7, disk, stored)])
        self.assertEqual(len(self.status()["growth"]), 3)
        snapshots = self.cluster.data_dir / "store" / "snapshots"
        if snapshots.exists():
            snapshots.rename(snapshots.with_name("moved"))
        snapshots.touch()
        status = self.status()
        self.assertNotIn("snapshots", status)
        self.assertEqual(status["growth"], [])
        self.assertIn("room_bytes", status)
        self.assertNotRegex(self.backupctl("status").stdout, "Snapshots|Growth")
        metrics = exposition.scrape(int(self.port_file.read_text()))
        for name in ("backup_snapshots", "backup_snapshot_newest_timestamp_seconds", "backup_growth_bytes_per_day"):
            self.assertNotIn(name, metrics.families)
        self.assertIn("backup_db_size_bytes", metrics.families)

    def test_metrics_tell_of_whole_windows_alone(self):
        self.start()
        wait_until(self.notes, "sizes are noted at the start")
        _, disk, stored = self.notes()[0]
        self.set_notes([(8, disk + 8 * LARGE, stored), (7, disk + 7 * LARGE, stored)])
        metrics = exposition.scrape(int(self.port_file.read_text()))
        self.assertAlmostEqual(metrics.value("backup_growth_bytes_per_day", kind="disk", window="7d"), -LARGE, delta=MIB)
        self.assertEqual(metrics.value("backup_growth_bytes_per_day", kind="logical", window="7d"), 0)
        self.assertEqual(set(metrics.by_label("backup_growth_bytes_per_day", "window")), {"1d", "7d"})
        self.assertNotIn("backup_storage_full_in_seconds", metrics.families, "it does not fill")
        self.assertRegex(self.backupctl("status").stdout, r"Growth, 7 days: +-100\.0 MiB a day on the disk")


if __name__ == "__main__":
    unittest.main()
