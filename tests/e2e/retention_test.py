"""Which versions are kept, and which go by themselves: as an operator says it, with clocks that jump and services that are killed."""

import contextlib
import glob
import json
import pathlib
import re
import sqlite3
import subprocess
import time
import unittest

import model_client as m
from cluster import BIN_DIR, ClusterTest, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBRARIES = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
DAY_S = 24 * 3600
NO_JOB = "--retain_interval=0s"
SOON = "--retain_interval=1s"


class RetentionCluster(ClusterTest):
    """What the tests share."""

    def setUp(self):
        super().setUp()
        self.cluster = None
        self.prefix = ()

    def run_service(self, *flags, kill=False):
        """Starts the service, anew if it runs."""
        if self.cluster is None:
            self.cluster = self.start(service_flags=list(flags), prefix=self.prefix)
            return
        self.cluster.service.kill() if kill else self.cluster.service.stop()
        self.cluster.service_flags = list(flags)
        self.cluster.start_service()

    def backupctl(self, *arguments, code=0):
        done = subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", *arguments],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def json_lines(self, *arguments):
        return [json.loads(line) for line in self.backupctl("--json", *arguments).splitlines()]

    def versions(self, name, file):
        return [version["version_id"] for version in self.json_lines("file", "versions", name, file)]

    def back_up(self, name, files, times):
        """A client that backs each file up so often; all of its versions are verified."""
        client = m.ModelClient(self.cluster.port, name.encode()).sign_up()
        for number in range(times):
            for file in files:
                client.back_up(file.encode(), f"{file} {number}".encode())
        return client

    def age(self, days_between):
        """Makes versions older, each file's newest one by nothing: while nobody has the catalog."""
        self.cluster.service.stop()
        with contextlib.closing(sqlite3.connect(self.cluster.data_dir / "catalog.db")) as catalog:
            rows = catalog.execute("SELECT version_id, file_id FROM versions ORDER BY version_id DESC").fetchall()
            seen = {}
            for version, file in rows:
                days = seen[file] = seen.get(file, -days_between) + days_between
                catalog.execute("UPDATE versions SET receive_time = receive_time - ? WHERE version_id = ?",
                                (days * DAY_S * 1_000_000, version))
            catalog.commit()
        self.cluster.start_service()

    def wait_for_run(self):
        def runs():
            jobs = {job["name"]: job for job in self.json_lines("status")[0]["jobs"]}
            return jobs.get("retain", {}).get("last_success_time")
        for _ in range(2):  # The first run that ends may have begun before this.
            before = runs()
            wait_until(lambda: runs() != before, "retention ran")


class RetentionTest(RetentionCluster):
    def test_without_a_policy_nothing_verified_goes_and_everything_says_so(self):
        self.run_service(SOON)
        self.back_up("laptop", ["a"], 5)
        self.wait_for_run()
        self.assertEqual(len(self.versions("laptop", "a")), 5)
        self.cluster.service.wait_for_log("there is no retention policy")
        self.assertIn("no policy: no verified version is ever removed", self.backupctl("status"))
        self.assertIn("there is no policy", self.backupctl("policy", "list"))
        # The command that the README tells works, and the log then says nothing of it.
        command = re.search(r"^build/release/bin/backupctl (policy set .*?)( *#.*)?$", (ROOT / "README.md").read_text(), re.M).group(1)
        self.backupctl(*command.split())
        self.assertIn("1 policies", self.backupctl("status"))
        self.run_service(SOON)
        self.assertEqual(self.cluster.service.log().count("there is no retention policy"), 1)

    def test_a_policy_is_set_tried_used_and_forgotten(self):
        self.run_service(NO_JOB)
        self.back_up("laptop", ["/var/log/x", "/etc/y"], 6)
        self.back_up("other", ["z"], 4)
        self.age(days_between=1)
        logs, etc, other = (self.versions(*file) for file in
                            (("laptop", "/var/log/x"), ("laptop", "/etc/y"), ("other", "z")))
        self.backupctl("policy", "set", "--keep-daily=3")
        self.backupctl("policy", "set", "--client=laptop", "--keep-last=5")
        tried = self.json_lines("policy", "preview", "--client=laptop", "--files=/var/**", "--keep-within=36h")
        self.assertEqual([v["version_id"] for v in tried if not v["reasons"]],
                         sorted([etc[5], *logs[2:]], key=lambda v: (v in logs, -v)))
        self.assertEqual({v["version_id"]: v["reasons"] for v in tried}[logs[0]], ["WITHIN", "NEWEST"])
        self.backupctl("policy", "set", "--client=laptop", "--files=/var/**", "--keep-within=2d")
        self.assertEqual([(p["pattern"], p.get("keep_within")) for p in self.json_lines("policy", "list")],
                         [("", None), ("", None), ("/var/**", 172800)])
        self.assertIn("within 48h", self.backupctl("policy", "show", "--client=laptop", "--files=/var/**"))
        self.assertIn("5 stay", self.backupctl("policy", "preview", "--client=laptop", "--file=/etc/y"))
        self.run_service(SOON)
        self.wait_for_run()
        self.assertEqual(self.versions("laptop", "/var/log/x"), logs[:2])
        self.assertEqual(self.versions("laptop", "/etc/y"), etc[:5])
        self.assertEqual(self.versions("other", "z"), other[:3])
        self.cluster.service.wait_for_log("job=retain outcome=OK count=6")
        self.backupctl("policy", "rm", "--client=laptop", "--files=/var/**")
        self.backupctl("policy", "rm", "--client=laptop", "--files=/var/**", code=10)
        self.backupctl("policy", "show", "--client=laptop", "--files=/var/**", code=10)

    def test_what_makes_no_sense_is_refused_by_name_and_changes_nothing(self):
        self.run_service(NO_JOB)
        m.ModelClient(self.cluster.port, b"laptop").sign_up()
        for arguments, why in ((["--keep-last=0"], "must keep something"), (["--keep-daily=-1"], "keep_daily must be 0 to"),
                               (["--keep-yearly=9223372036854775807"], "keep_yearly must be 0 to"),
                               (["--keep-within=-1h"], "keep_within must be 0s to"),
                               (["--keep-within=900000d"], "keep_within must be 0s to"),
                               (["--keep-last=1", "--files=*"], "one client"),
                               (["--keep-last=1", "--client=laptop", "--files=[a"], "pattern"),
                               (["--keep-last=1", "--client=laptop", "--files=" + "**" * 200], "pattern")):
            self.assertIn(why, self.backupctl("policy", "set", *arguments, code=2))
        self.assertIn("--keep-within must be", self.backupctl("policy", "set", "--keep-within=soon", code=2))
        self.backupctl("policy", "set", "--keep-last=1", "--client=nobody", code=10)
        self.assertEqual(self.json_lines("policy", "list"), [])
        for flag in ("--timezone=Europe/Atlantis", "--timezone=", "--min_retention=-1h", "--unconfirmed_ttl=x"):
            done = subprocess.run([BIN_DIR / "backup-service", f"--data_dir={self.folder}/none", flag], capture_output=True,
                                  text=True, timeout=20)
            self.assertNotEqual(done.returncode, 0, flag)
            self.assertIn(flag.split("=")[0].strip("-"), done.stderr)

    def test_nobody_removes_what_must_be_kept(self):
        self.run_service(SOON, "--min_retention=1h")
        self.back_up("laptop", ["a"], 3)
        self.backupctl("policy", "set", "--keep-last=1")
        # Another flag shortens nothing of it.
        self.run_service(SOON, "--min_retention=0s")
        self.wait_for_run()
        versions = self.versions("laptop", "a")
        self.assertEqual(len(versions), 3)
        self.assertIn("must be kept until",
                      self.backupctl("file", "rm", "laptop", "a", "--version", str(versions[2]), "--yes", code=1))
        self.assertIn("must be kept until", self.backupctl("file", "rm", "laptop", "a", "--all", "--yes", code=1))
        self.assertIn("must be kept until", self.backupctl("client", "rm", "laptop", "--yes", code=1))
        self.assertEqual(self.versions("laptop", "a"), versions)
        self.back_up("laptop 2", ["b"], 2)
        self.wait_for_run()
        self.assertEqual(len(self.versions("laptop 2", "b")), 1)

    def test_kept_versions_survive_any_number_of_kills(self):
        self.run_service(NO_JOB)
        files = [f"f{number}" for number in range(20)]
        self.back_up("laptop", files, 6)
        self.age(days_between=1)
        self.backupctl("policy", "set", "--keep-daily=2")
        kept = {file: self.versions("laptop", file)[:2] for file in files}
        for number in range(8):
            self.run_service(SOON, "--retain_rate=200", kill=True)
            time.sleep(0.02 * number)  # What has happened by then is different each time, and any of it is right.
        self.wait_for_run()
        self.assertEqual({file: self.versions("laptop", file) for file in files}, kept)


@unittest.skipUnless(LIBRARIES, "libfaketime is not installed")
class ClockTest(RetentionCluster):
    """The wall clock is set, the clock that nobody sets is not."""

    def setUp(self):
        super().setUp()
        self.clock = self.folder / "clock"
        self.set_clock("+0")
        self.prefix = ["env", f"LD_PRELOAD={LIBRARIES[0]}", f"FAKETIME_TIMESTAMP_FILE={self.clock}", "FAKETIME_NO_CACHE=1",
                       "FAKETIME_DONT_FAKE_MONOTONIC=1"]

    def set_clock(self, offset):
        beside = self.folder / "clock.new"
        beside.write_text(offset + "\n")
        beside.rename(self.clock)

    def test_nothing_goes_while_the_clock_is_not_trusted(self):
        self.run_service(SOON)
        self.wait_for_run()
        self.set_clock("+30d")
        self.cluster.service.wait_for_log("policy resume")
        self.back_up("laptop", ["a"], 3)
        self.backupctl("policy", "set", "--keep-last=1")
        self.assertIn("stopped since", self.backupctl("status"))
        self.run_service(SOON)  # Another run of the process knows it.
        self.cluster.service.wait_for_log("job=retain outcome=ERROR", count=2)
        self.assertEqual(len(self.versions("laptop", "a")), 3)
        self.assertIn("trusted", self.backupctl("policy", "resume"))
        wait_until(lambda: len(self.versions("laptop", "a")) == 1, "retention goes on")
        self.assertNotIn("stopped since", self.backupctl("status"))


if __name__ == "__main__":
    unittest.main()
