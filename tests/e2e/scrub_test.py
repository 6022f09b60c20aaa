"""Damage on the disk of the real service: it is found, told, and heals when the old client sends its files again."""

import random
import unittest

import exposition
from cli_test import DAMAGED, PARTIAL, CliTest
from cluster import wait_until

MIB = 1 << 20


class ScrubTest(CliTest):
    def start_service(self, *flags):
        self.port_file = self.folder / "operations.port"
        self.start(service_flags=["--operations_listen=127.0.0.1:0", f"--operations_bound_port_file={self.port_file}", *flags])

    def metric(self, name, **labels):
        return exposition.scrape(int(self.port_file.read_text())).value(name, **labels)

    def damage(self):
        return sum(self.metric("backup_damaged", kind=kind) for kind in ("chunk", "version"))

    def blobs(self):
        sizes = self.cluster.blob_sizes()
        return sorted(sizes, key=sizes.get)

    def flip_a_byte(self, blob, at):
        with blob.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))

    def states(self, file):
        return [version["state"] for version in self.json_lines("file", "versions", "laptop", file)]

    def scrub(self):
        """A whole cycle from now on."""
        before = self.json_lines("scrub", "status")[0].get("last_end_time", "")
        self.backupctl("scrub", "start")
        wait_until(lambda: self.json_lines("scrub", "status")[0].get("last_end_time", "") > before, "a cycle comes to its end")

    def heals(self, at_rest):
        self.start_service(f"--at_rest={at_rest}")
        source = random.Random(3)
        files = {"large": source.randbytes(3 * MIB), "small": b"small", "old": source.randbytes(100_000)}
        folder = self.client_folder(files)
        self.legacy_client(folder)
        (folder / "old").write_bytes(source.randbytes(200_000))
        self.legacy_client(self.client_folder({"old": (folder / "old").read_bytes()}))
        self.scrub()
        self.assertEqual(self.damage(), 0)
        # Of the newest version of each.
        for blob in self.blobs():
            if blob.stat().st_size > 150_000:
                self.flip_a_byte(blob, 20_000)
        self.scrub()
        self.assertGreater(self.damage(), 0)
        self.assertEqual(self.states("large"), ["DAMAGED"])
        self.assertEqual(self.states("old"), ["DAMAGED", "VERIFIED"])
        self.assertEqual(self.states("small"), ["VERIFIED"])
        self.assertIn("Damaged", self.backupctl("status").stdout)
        self.cluster.service.wait_for_log("backupctl file get --fallback")
        # An older version only if somebody asks for it.
        got = self.folder / "got"
        failed = self.backupctl("file", "get", "laptop", "old", "-o", str(got), code=DAMAGED)
        self.assertIn("`backupctl file get --fallback`", failed.stderr)
        told = self.backupctl("file", "get", "laptop", "old", "-o", str(got), "--fallback", code=PARTIAL)
        self.assertRegex(told.stderr, r"version \d+ is damaged: version \d+ of .* is fetched instead")
        self.assertEqual(got.read_bytes(), files["old"])
        restored = self.folder / "restored"
        told = self.backupctl("restore", "--client", "laptop", "--to", str(restored), "--fallback", code=PARTIAL)
        self.assertRegex(told.stderr, r"older: version \d+ of old is damaged; version \d+ of .* is restored instead")
        self.assertEqual((restored / "old").read_bytes(), files["old"])
        self.assertFalse((restored / "large").exists())
        # The client knows nothing of all this, and sends everything again as it does every day.
        self.legacy_client(self.client_folder({"large": files["large"], "old": (folder / "old").read_bytes()}))
        wait_until(lambda: self.damage() == 0, "it heals")
        self.assertEqual(self.states("large"), ["VERIFIED", "VERIFIED"])
        self.assertEqual(self.states("old"), ["VERIFIED", "VERIFIED", "VERIFIED"])
        self.assertGreater(self.metric("backup_healed_total", kind="chunk") + self.metric("backup_healed_total", kind="version"), 0)
        self.backupctl("verify")
        self.backupctl("restore", "--client", "laptop", "--to", str(self.folder / "whole"))
        self.assertEqual((self.folder / "whole" / "large").read_bytes(), files["large"])

    def test_shared_content_heals(self):
        self.heals("plain")
        self.assertEqual(self.metric("backup_set_aside_blobs"), 0)

    def test_the_clients_ciphertext_heals_and_what_is_damaged_is_kept(self):
        self.heals("client")
        self.assertEqual(self.metric("backup_set_aside_blobs"), 2)
        before = len(self.blobs())
        self.backupctl("scrub", "discard", "--yes")
        wait_until(lambda: len(self.blobs()) == before - 2, "what was given up is deleted")
        self.backupctl("verify")

    def test_a_pause_outlasts_a_restart_and_a_kill_loses_nothing(self):
        self.start_service("--scrub_rate=1", "--scrub_period=0s")
        self.assertEqual(self.json_lines("scrub", "status")[0]["state"], "OFF")
        self.legacy_client(self.client_folder({"large": random.Random(4).randbytes(2 * MIB)}))
        self.backupctl("scrub", "start")
        wait_until(lambda: "start_time" in self.json_lines("scrub", "status")[0], "it begins")
        self.assertEqual(self.json_lines("scrub", "pause")[0]["state"], "PAUSED")
        self.cluster.service.kill()
        self.cluster.service_flags.remove("--scrub_rate=1")
        self.cluster.start_service()
        paused = self.json_lines("scrub", "status")[0]
        self.assertEqual(paused["state"], "PAUSED")
        self.assertIn("start_time", paused)
        self.assertIn("scrub: paused", "scrub: " + self.backupctl("scrub", "status").stdout.split("State:")[1].strip())
        self.backupctl("scrub", "start")
        wait_until(lambda: self.json_lines("scrub", "status")[0]["state"] == "OFF", "it goes on to its end")
        last = self.json_lines("scrub", "status")[0]["last_tally"]
        self.assertEqual((last["version_count"], last["damaged_count"]), (1, 0))
        jobs = {job["name"]: job for job in self.json_lines("status")[0]["jobs"]}
        self.assertGreater(jobs["scrub"]["last_count"], 0)

    def test_a_sample_says_so(self):
        self.start_service()
        self.legacy_client(self.client_folder({"file": b"content"}))
        self.assertRegex(self.backupctl("verify", "--sample", "100%").stdout, "checked a random share of 100%: 1 versions")
        self.assertRegex(self.backupctl("verify").stdout, "checked 1 versions")
        for wrong in ("0%", "101%", "5 percent", "-1", "nan"):
            self.assertIn("--sample", self.backupctl("verify", "--sample", wrong, code=2).stderr)


if __name__ == "__main__":
    unittest.main()
