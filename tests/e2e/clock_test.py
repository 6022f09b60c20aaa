"""The wall clock jumps while both programs run, and what was noted while it was ahead.

libfaketime answers for the C library's wall clock alone; the kernel's waits go by the true one, as after a step of that. A
wait that names a time on the wall clock hangs (clock ahead, or set back to the true time) or comes at once (clock behind).
"""

import contextlib
import glob
import json
import signal
import subprocess
import sys
import time
import unittest
import urllib.request

import model_client as m
from cluster import BIN_DIR, ClusterTest, Process

LIBRARIES = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
SKIPPED = 77
TRUE_TIME = "+0"
# Where the clock stands before and after its step.
STEPS = [(TRUE_TIME, "-1h"), (TRUE_TIME, "+1h"), ("+1h", TRUE_TIME), ("-1h", TRUE_TIME), (TRUE_TIME, "+10y"),
         ("+10y", TRUE_TIME)]
END_S = 5
DRAIN_S = 1
CALL_S = 10
# A file of this size is passed on as it comes.
LARGE = 300_000


class ClockTest(ClusterTest):
    def setUp(self):
        super().setUp()
        self.clock = self.folder / "clock"
        self.all_clocks = ["env", f"LD_PRELOAD={LIBRARIES[0]}", f"FAKETIME_TIMESTAMP_FILE={self.clock}", "FAKETIME_NO_CACHE=1"]
        self.prefix = [*self.all_clocks, "FAKETIME_DONT_FAKE_MONOTONIC=1"]

    def set_clock(self, offset):
        beside = self.folder / "clock.new"
        beside.write_text(offset + "\n")
        beside.rename(self.clock)

    def start_at(self, offset, **flags):
        self.set_clock(offset)
        return self.start(**{"prefix": self.prefix, **flags})

    @contextlib.contextmanager
    def running_at(self, offset, **flags):
        """A cluster that is killed at the end, so that one that hangs is not in the way of the next."""
        cluster = self.start_at(offset, **flags)
        try:
            yield cluster
        finally:
            cluster.bridge.kill()
            cluster.service.kill()

    def backupctl(self, cluster, *arguments, prefix=None):
        begin = time.monotonic()
        done = subprocess.run([*(self.prefix if prefix is None else prefix), BIN_DIR.resolve() / "backupctl",
                               f"--service=127.0.0.1:{cluster.service_port}", *arguments],
                              capture_output=True, text=True, timeout=CALL_S)
        return done, time.monotonic() - begin

    def listing(self, cluster, *command):
        done, _ = self.backupctl(cluster, "--json", *command)
        self.assertEqual(done.returncode, 0, done.stderr)
        return {client["name"]: client for client in map(json.loads, done.stdout.splitlines())}

    def send_half(self, client):
        ciphertext = client.encrypt(bytes(LARGE))
        payload = len(ciphertext).to_bytes(4, "little") + m.name_field(b"half") + ciphertext
        connection = client.connect()
        self.addCleanup(connection.close)
        connection.send(client.id, 3, m.FILE, payload[:LARGE // 2], payload_size=len(payload))
        return connection, payload[LARGE // 2:]

    def assert_end(self, cluster, within_s=END_S):
        for daemon in (cluster.bridge, cluster.service):
            daemon.process.send_signal(signal.SIGTERM)
            try:
                self.assertEqual(daemon.process.wait(timeout=within_s), 0, daemon.log())
            except subprocess.TimeoutExpired:
                self.fail(f"{daemon.name} does not end")

    def test_both_serve_and_end_after_each_step(self):
        for before, after in STEPS:
            with self.subTest(before=before, after=after), self.running_at(before) as cluster:
                client = m.ModelClient(cluster.port, f"{before} {after}".encode()).sign_up()
                uploading, rest = self.send_half(client)
                self.set_clock(after)
                uploading.socket.sendall(rest)
                self.assertEqual(uploading.answer()[0], m.FILE_RECEIVED)
                client.back_up(b"file", b"content")
                self.assert_end(cluster)

    def test_both_end_in_their_time_in_the_midst_of_uploads(self):
        flags = [f"--drain_timeout={DRAIN_S}s"]
        for before, after in STEPS[:3]:
            with self.subTest(before=before, after=after), \
                    self.running_at(before, service_flags=flags, bridge_flags=flags) as cluster:
                self.send_half(m.ModelClient(cluster.port, f"{before} {after}".encode()).sign_up())
                self.set_clock(after)
                self.assert_end(cluster, DRAIN_S + END_S)

    def test_both_serve_and_end_though_even_the_monotonic_clock_steps(self):
        """No kernel does that, but libfaketime by default."""
        for before, after in STEPS:
            with self.subTest(before=before, after=after), self.running_at(before, prefix=self.all_clocks) as cluster:
                client = m.ModelClient(cluster.port, f"{before} {after}".encode()).sign_up()
                self.set_clock(after)
                client.back_up(b"file", b"content")
                self.assert_end(cluster)

    def test_deadlines_come_when_the_clock_is_wrong(self):
        for offset in ("+1h", "-1h"):
            with self.subTest(offset), self.running_at(offset, bridge_flags=["--ride_through=1s"]) as cluster:
                client = m.ModelClient(cluster.port, offset.encode()).sign_up()
                cluster.service.process.send_signal(signal.SIGSTOP)
                done, took = self.backupctl(cluster, "--timeout=1s", "status")
                self.assertNotEqual(done.returncode, 0)
                self.assertLess(took, END_S)
                cluster.service.kill()
                with contextlib.closing(client.connect()) as connection:  # The bridge gives up in its time.
                    answer = connection.call(client.id, 3, m.RECONNECT, m.name_field(client.name))
                self.assertEqual(answer[0], m.ERROR)

    def test_an_idle_service_neither_ends_early_nor_stays(self):
        self.set_clock(TRUE_TIME)
        daemon = Process("backup-service", [f"--data_dir={self.folder}/data", "--listen=127.0.0.1:0", "--idle_shutdown=2s"],
                         self.folder, prefix=self.prefix)
        self.addCleanup(daemon.kill)
        begin = time.monotonic()
        self.set_clock("+10y")
        self.assertEqual(daemon.process.wait(timeout=2 + END_S), 0)
        self.assertGreater(time.monotonic() - begin, 1)

    def test_what_was_noted_while_the_clock_was_ahead_is_unknown_until_the_next_contact(self):
        flags = ["--operations_listen=127.0.0.1:0", f"--operations_bound_port_file={self.folder}/ops"]
        cluster = self.start_at("+10y", service_flags=flags)
        clients = {name: m.ModelClient(cluster.port, name.encode()).sign_up() for name in ("verified", "registered", "away")}
        clients["verified"].back_up(b"file", b"content")
        self.assertEqual(self.listing(cluster, "client", "stale", "--older-than=36h"), {})
        ahead = self.listing(cluster, "client", "list")
        cluster.service.stop()
        self.set_clock(TRUE_TIME)
        cluster.start_service()
        cluster.service.wait_for_log("3 clients were last verified, or else registered, in the future")

        self.assertEqual(set(self.listing(cluster, "client", "stale", "--older-than=36h")), set(clients))
        self.assertEqual(set(self.listing(cluster, "client", "stale", "--older-than=1000h")), set(clients))
        shown = self.metrics()
        self.assertIn("backup_clients_in_future 3\n", shown)
        self.assertIn('backup_clients_stale{threshold="36h"} 3\n', shown)
        for name in ("last_success", "registered", "last_attempt"):
            self.assertEqual({line.rpartition(" ")[2] for line in shown.splitlines()
                              if line.startswith(f"backup_client_{name}_timestamp_seconds{{")}, {"0"}, name)
        done, _ = self.backupctl(cluster, "status")
        self.assertRegex(done.stdout, r"Last verified: +never")
        done, _ = self.backupctl(cluster, "client", "list")
        self.assertEqual(done.stdout.count("(in the future)"), 7, done.stdout)

        clients["verified"].back_up(b"file", b"new content")
        self.assertEqual(clients["registered"].reconnect(), m.RECONNECTED)
        m.ModelClient(cluster.port, b"new").sign_up()  # What is only a sign of life is written with the next change.
        self.assertEqual(set(self.listing(cluster, "client", "stale", "--older-than=36h")), {"away"})
        now = self.listing(cluster, "client", "list")
        for name in ("verified", "registered"):
            self.assertLess(now[name]["last_seen_time"], ahead[name]["last_seen_time"], name)
        self.assertIn("backup_clients_in_future 1\n", self.metrics())

    def metrics(self):
        port = (self.folder / "ops").read_text().strip()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=CALL_S) as answer:
            return answer.read().decode()


if __name__ == "__main__":
    if not LIBRARIES:
        print("libfaketime is not installed")
        sys.exit(SKIPPED)
    unittest.main()
