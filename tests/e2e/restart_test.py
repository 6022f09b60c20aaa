"""Drain and ride-through: how both programs end, and that clients under load do not notice that the service restarts."""

import json
import random
import signal
import subprocess
import threading
import time
import traceback
import unittest
import uuid

import exposition
import model_client as m
from client_trace import start_trace
from cluster import BIN_DIR, ClusterTest

CLIENTS, RESTARTS = 64, 20
LOAD_DEADLINE_S = 100
INTERRUPTED = 130
# More than the bridge keeps of an upload to repeat it (--spool_bytes).
LARGE = 6 << 20
DRAIN_S = 1
SLACK_S = 3  # Beyond --drain_timeout, for a busy machine.


class RestartTest(ClusterTest):
    def backupctl(self, cluster, *arguments):
        return subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{cluster.service_port}", *arguments],
                              capture_output=True, text=True, timeout=LOAD_DEADLINE_S, check=True).stdout

    def send_half(self, client):
        """A connection on which half a file was sent."""
        ciphertext = client.encrypt(bytes(100_000))
        connection = client.connect()
        self.addCleanup(connection.close)
        payload = len(ciphertext).to_bytes(4, "little") + m.name_field(b"half") + ciphertext
        connection.send(client.id, 3, m.FILE, payload[:50_000], payload_size=len(payload))
        return connection


class EndTest(RestartTest):
    def begin_upload(self, cluster):
        """A connection on which half a file was sent, and that much is known to the service (if run with --v=2)."""
        connection = self.send_half(m.ModelClient(cluster.port, b"client").sign_up())
        cluster.service.wait_for_log("] UploadFile ")
        return connection

    def assert_ends(self, daemon, code, within_s):
        begin = time.monotonic()
        self.assertEqual(daemon.process.wait(timeout=within_s), code, daemon.log())
        return time.monotonic() - begin

    def test_the_bridge_ends_within_the_drain_timeout_though_the_service_is_away(self):
        for away in (signal.SIGKILL, signal.SIGSTOP):
            with self.subTest(away):
                cluster = self.start(bridge_flags=[f"--drain_timeout={DRAIN_S}s", "--ride_through=60s"])
                client = m.ModelClient(cluster.port, b"client %d" % away).sign_up()
                service = cluster.service.process
                service.send_signal(away)
                self.addCleanup(service.kill)
                self.send_half(client)
                asking = client.connect()
                self.addCleanup(asking.close)
                asking.send(client.id, 3, m.RECONNECT, m.name_field(client.name))
                cluster.bridge.process.send_signal(signal.SIGTERM)
                self.assertGreater(self.assert_ends(cluster.bridge, 0, DRAIN_S + SLACK_S), DRAIN_S / 2)
                self.assertIn("hanging up", cluster.bridge.log())
                service.kill()
                service.wait()

    def test_a_second_signal_ends_both_at_once(self):
        cluster = self.start(service_flags=["--drain_timeout=60s", "--v=2"], bridge_flags=["--drain_timeout=60s"])
        self.begin_upload(cluster)
        for daemon in (cluster.service, cluster.bridge):
            daemon.process.send_signal(signal.SIGTERM)
            daemon.wait_for_log("stopping")
            self.assertIsNone(daemon.process.poll())
            daemon.process.send_signal(signal.SIGTERM)
            self.assert_ends(daemon, INTERRUPTED, SLACK_S)

    def test_the_service_ends_within_the_drain_timeout_though_an_upload_stalls(self):
        cluster = self.start(service_flags=[f"--drain_timeout={DRAIN_S}s", "--v=2"])
        connection = self.begin_upload(cluster)
        cluster.service.process.send_signal(signal.SIGTERM)
        self.assertGreater(self.assert_ends(cluster.service, 0, DRAIN_S + SLACK_S), DRAIN_S / 2)
        connection.close()


class Load:
    """Clients that back up one file after the other until they are told to stop."""

    def __init__(self, port, seed):
        self.port, self.seed = port, seed
        self.stop = threading.Event()
        self.ready = threading.Barrier(CLIENTS + 1)
        self.errors = []
        self.backed_up = [0] * CLIENTS
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()
        self.ready.wait(timeout=LOAD_DEADLINE_S)

    def run(self, number):
        dice = random.Random(self.seed + number)
        try:
            # Of version 1, whose checksum is quick to compute here, if the files are large.
            client = m.ModelClient(self.port, b"client %d" % number, version=1 if number % 4 == 0 else 3).sign_up()
            self.ready.wait(timeout=LOAD_DEADLINE_S)
            while not self.stop.is_set():
                self.back_up_one(client, dice, number)
        except Exception as error:  # Whatever it is, the test reports it.
            self.errors.append(f"client {number}: {error!r} {traceback.format_exc()}")
            self.ready.abort()

    def back_up_one(self, client, dice, number):
        size = dice.choice((0, 100, LARGE) if number == 0 else (0, 500_000) if client.version == 1 else (0, 100, 20_000))
        connection = client.connect() if client.version == 3 and dice.random() < 0.5 else None
        if dice.random() < 0.3:
            assert client.reconnect(connection) == m.RECONNECTED
        client.back_up(b"file %d" % dice.randrange(5), dice.randbytes(size), connection)
        self.backed_up[number] += 1
        if connection:
            connection.close()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(timeout=LOAD_DEADLINE_S)


class LostDataTest(RestartTest):
    def test_clients_that_only_send_their_key_again_come_back_where_that_is_allowed(self):
        cluster = self.start()
        client = m.ModelClient(cluster.port, b"client").sign_up()
        cluster.service.stop()
        cluster.data_dir.rename(self.folder / "lost")
        cluster.start_service()
        self.assertEqual(client.exchange_key(), m.ERROR)
        cluster.service.stop()
        operations = self.folder / "operations"
        cluster.service_flags = ["--unknown_key=adopt", "--operations_listen=127.0.0.1:0",
                                 f"--operations_bound_port_file={operations}"]
        cluster.start_service()
        trace = start_trace(self, cluster.service_port)
        self.assertEqual(client.exchange_key(), m.KEY_ACCEPTED)
        self.assertIn("-> OK (taken in: nobody registered it here) ", trace.stdout.readline())
        self.assertEqual(exposition.scrape(int(operations.read_text())).value("backup_clients_adopted_total"), 1)
        self.assertTrue(client.send_file(b"file", b"content"))
        self.assertEqual(client.exchange_key(), m.KEY_ACCEPTED)
        cluster.service.wait_for_log("took in a client that nobody registered here")
        self.assertEqual(cluster.service.log().count("took in a client"), 1)
        self.assertIn(str(uuid.UUID(bytes=client.id)), self.backupctl(cluster, "client", "show", "client"))
        for line in (trace.stdout.readline() for _ in range(2)):  # The file, the key again.
            self.assertIn("-> OK content_bytes=", line)
        other = m.ModelClient(cluster.port, b"client")
        other.id = bytes(range(16))
        self.assertEqual(other.exchange_key(), m.ERROR)  # The name is taken.


class RideThroughTest(RestartTest):
    def test_restarts_of_the_service_are_not_noticed_by_clients_under_load(self):
        seed = random.randrange(1 << 32)
        cluster = self.start()
        load = Load(cluster.port, seed)
        self.addCleanup(load.end)
        for _ in range(RESTARTS):
            before = sum(load.backed_up)
            self.assertEqual(cluster.service.stop(), 0, cluster.service.log())
            cluster.start_service()
            deadline = time.monotonic() + LOAD_DEADLINE_S
            while sum(load.backed_up) < before + CLIENTS // 2 and not load.errors and time.monotonic() < deadline:
                time.sleep(0.01)
        load.end()
        self.assertEqual(load.errors, [], f"seed {seed}")
        self.assertGreaterEqual(sum(load.backed_up), RESTARTS * CLIENTS // 2)
        clients = self.backupctl(cluster, "--json", "client", "list").splitlines()
        self.assertEqual(len(clients), CLIENTS)
        status = json.loads(self.backupctl(cluster, "--json", "status"))
        # Each once: what was repeated did not make another version.
        self.assertEqual(int(status["verified_version_count"]), sum(load.backed_up), f"seed {seed}")
        self.backupctl(cluster, "verify")


if __name__ == "__main__":
    unittest.main()
