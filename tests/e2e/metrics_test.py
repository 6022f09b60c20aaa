#!/usr/bin/env python3
"""What the metrics of both processes tell is what real clients did; and every series is one that docs/operations.md lists."""

import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import threading
import time
import unittest

import exposition
import model_client as m
from Cryptodome.PublicKey import RSA
from cluster import BIN_DIR, Cluster, ClusterTest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WAIT_S = 20
POLL_S = 0.05
UNKNOWN_ID = bytes(range(16))


class CountingConnection(m.Connection):
    """Counts, of all connections, what the bridge must count, seen from the other end."""

    opened = sent = received = 0
    lock = threading.Lock()

    def __init__(self, port, timeout=30):
        super().__init__(port, timeout)
        self.count(opened=1)

    @classmethod
    def count(cls, opened=0, sent=0, received=0):
        with cls.lock:
            cls.opened, cls.sent, cls.received = cls.opened + opened, cls.sent + sent, cls.received + received

    def send_raw(self, data):
        self.socket.sendall(data)
        self.count(sent=len(data))

    def send(self, client_id, version, code, payload, payload_size=None):
        size = len(payload) if payload_size is None else payload_size
        self.send_raw(client_id + struct.pack("<BHI", version, code, size) + payload)

    def _exactly(self, size):
        data = super()._exactly(size)
        self.count(received=len(data))
        return data

    def ends(self):
        """Whether the bridge hangs up, whatever it says before that."""
        data = b""
        try:
            while piece := self.socket.recv(4096):
                data += piece
        except ConnectionResetError:
            pass
        self.count(received=len(data))
        self.socket.close()
        return data


class Client(m.ModelClient):
    def connect(self):
        return CountingConnection(self.port)


class Scraper:
    """Scrapes a process again and again; each answer must be well-formed, and no counter may shrink."""

    def __init__(self, port):
        self.port = port
        self.most = {}  # Series: the largest value seen.
        self.last = None
        self.count = 0
        self.error = None
        self.stopped = threading.Event()
        self.scrape()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def scrape(self):
        seen = exposition.scrape(self.port)
        if self.last:
            now = seen.counters()
            for series, value in self.last.counters().items():
                assert now.get(series, -1) >= value, f"{series} was {value} and is {now.get(series)}"
        for family in seen.families.values():
            for series, value in family.samples.items():
                self.most[series] = max(value, self.most.get(series, value))
        self.last = seen
        self.count += 1
        return seen

    def _run(self):
        try:
            while not self.stopped.wait(POLL_S):
                self.scrape()
        except Exception as error:  # Told by stop().
            self.error = error

    def stop(self):
        """The last answer, taken after the scraping ended."""
        self.stopped.set()
        self.thread.join(WAIT_S)
        if self.error:
            raise self.error
        return self.scrape()


def documented():
    """Metric: its labels, and the processes that have it, from docs/operations.md."""
    table = (ROOT / "docs/operations.md").read_text().partition("| Metric | Labels |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| (.*?) \| (service|bridge|both) \|", table, re.MULTILINE)
    return {name: (set(re.findall(r"`(\w+)`", labels)), program) for name, labels, program in rows}


class MetricsTest(ClusterTest):
    def setUp(self):
        super().setUp()
        CountingConnection.opened = CountingConnection.sent = CountingConnection.received = 0

    def start(self, service_flags=(), bridge_flags=()):
        def flags(name):
            return ["--operations_listen=127.0.0.1:0", f"--operations_bound_port_file={self.folder}/{name}.ops"]
        cluster = super().start(service_flags=[*flags("service"), *service_flags],
                          bridge_flags=[*flags("bridge"), *bridge_flags])
        return cluster

    def ops_port(self, name):
        return int((self.folder / f"{name}.ops").read_text())

    def scraper(self, name):
        scraper = Scraper(self.ops_port(name))
        self.addCleanup(scraper.stopped.set)
        return scraper

    def backupctl(self, cluster, *arguments):
        return subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{cluster.service_port}", *arguments],
                              capture_output=True, text=True, timeout=WAIT_S, check=True).stdout

    def wait_until(self, holds, what):
        deadline = time.monotonic() + WAIT_S
        while not holds():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(POLL_S)

    def good_clients(self, port):
        """Five at once, three files each; bytes as sent and as they are."""
        sizes = [len(b"small"), 70_000, 370_000]
        failed = []

        def run(number):
            try:
                client = Client(port, b"client %d" % number).sign_up()
                for index, size in enumerate(sizes):  # All new: what is known is not stored.
                    client.back_up(b"file %d" % index, os.urandom(size))
            except Exception as error:
                failed.append(error)
        threads = [threading.Thread(target=run, args=[number]) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        self.assertEqual(failed, [])
        return 5 * len(sizes), 5 * sum(size // 16 * 16 + 16 for size in sizes), sum(sizes)

    def bad_clients(self, port):
        """What goes wrong, each once; bytes of uploads that were stored all the same."""
        client = Client(port, b"unlucky").sign_up()
        size = len(client.encrypt(b"content"))
        client.back_up(b"first", b"content")  # Tells what it compares; before that a retry means another checksum.
        client.send_file(b"resent", b"content")
        client.verdict(m.RETRY, b"resent")
        client.back_up(b"resent", b"content")
        client.send_file(b"given up", b"content")
        client.verdict(m.ABORT, b"given up")
        # Said once more, by clients that did not hear the answer, it changes nothing.
        for code, name in ((m.ABORT, b"given up"), (m.VALID, b"first"), (m.RETRY, b"resent")):
            self.assertEqual(client.verdict(code, name), m.ACKNOWLEDGED)
        # Content that is no ciphertext, and a client that nobody knows.
        for sender in (client.id, UNKNOWN_ID):
            payload = struct.pack("<I", 16) + m.name_field(b"garbage") + bytes(16)
            connection = CountingConnection(port)
            self.assertEqual(connection.call(sender, 3, m.FILE, payload)[0], m.ERROR)
            connection.close()
        stranger = Client(port, b"stranger")
        stranger.id = UNKNOWN_ID
        self.assertEqual(stranger.reconnect(), m.DENIED)
        # Another key under a known id.
        thief = Client(port, b"unlucky")
        thief.id, thief.rsa = client.id, RSA.generate(1024, e=17)
        self.assertEqual(thief.exchange_key(), m.ERROR)
        return client, 4 * size

    def broken_connections(self, port, client):
        """Connections that the bridge closes, by its reason; each of them was one upload begun or none."""
        size = 128 << 10  # Of a smaller file the service hears only when it is whole.
        head = struct.pack("<I", size) + m.name_field(b"half")
        request = client.id + struct.pack("<BHI", 3, m.FILE, len(head) + size)
        stalled, gone, idle, slow, unknown, foreign = (CountingConnection(port) for _ in range(6))
        stalled.send_raw(request + head + bytes(16))
        gone.send_raw(request + head + bytes(16))
        slow.send_raw(request[:5])
        unknown.send_raw(client.id + struct.pack("<BHI", 3, 9999, 0))
        foreign.send_raw(b"GET / HTTP/1.1\r\nHost: example\r\n\r\n")
        self.wait_until(lambda: self.service.most.get(("backup_uploads_in_progress", frozenset()), 0) >= 2, "no upload")
        gone.socket.shutdown(socket.SHUT_WR)
        for connection in (gone, stalled, idle, slow, unknown, foreign):
            connection.ends()
        return {"rate": 1, "idle": 1, "header_timeout": 1, "protocol": 2}

    def test_counters_tell_what_the_clients_did(self):
        cluster = self.start(bridge_flags=["--body_timeout=1s", "--header_timeout=1s", "--idle_timeout=1s"])
        self.service, bridge = self.scraper("service"), self.scraper("bridge")
        begin = time.time()
        good, good_bytes, plain = self.good_clients(cluster.port)
        client, bad_bytes = self.bad_clients(cluster.port)
        closed = self.broken_connections(cluster.port, client)
        source = self.folder / "local.txt"
        source.write_bytes(b"from the API")
        self.backupctl(cluster, "file", "put", "unlucky", str(source))

        self.wait_until(lambda: bridge.last.value("backup_bridge_connections_closed_total") == CountingConnection.opened,
                        "not all connections are closed")
        self.wait_until(lambda: self.service.last.value("grpc_server_calls_in_flight") == 0, "a call does not end")
        seen, bridged = self.service.stop(), bridge.stop()
        self.assertGreater(min(self.service.count, bridge.count), 10)

        self.check_uploads(seen, good, good_bytes + bad_bytes)
        self.check_bridge(bridged, good, closed)
        self.assertGreater(bridge.most[("backup_bridge_spool_bytes", frozenset())], 0)
        self.check_clients(seen, cluster, plain, begin)
        for name, value in (("backup_uploads_in_progress", 0), ("backup_storage_temp_bytes", 0), ("backup_db_writers", 1),
                            ("backup_db_busy_total", 0), ("backup_storage_io_errors_total", 0), ("backup_db_up", 1),
                            ("backup_storage_read_only", 0), ("backup_debug_faults_injected_total", 0)):
            self.assertEqual(seen.value(name), value, name)
        # The large files, and the folders at the start.
        self.assertGreater(seen.value("backup_storage_fsync_duration_seconds_count"), 5)
        self.assertGreater(seen.value("backup_db_commit_duration_seconds_count"), 5)
        self.check_documentation(seen, "service")
        self.check_documentation(bridged, "bridge")

    def check_uploads(self, seen, good, size):
        def uploads(source, result, reason):
            return seen.value("backup_uploads_total", source=source, result=result, reason=reason)
        expected = {("legacy", "verified", "OK"): good + 2, ("grpc", "verified", "OK"): 1,
                    ("legacy", "rejected", "CHECKSUM"): 1, ("legacy", "aborted", "CHECKSUM"): 1,
                    ("legacy", "rejected", "CONTENT_REJECTED"): 1, ("legacy", "rejected", "CLIENT_NOT_FOUND"): 1,
                    ("legacy", "aborted", "CANCELLED"): 2}
        self.assertEqual({key: uploads(*key) for key in expected}, expected)
        self.assertEqual(seen.value("backup_uploads_total"), sum(expected.values()))
        self.assertEqual(seen.value("grpc_server_call_started_total", grpc_method="UploadFile"), sum(expected.values()))
        self.assertEqual(seen.value("grpc_server_call_started_total"),
                         seen.value("grpc_server_call_duration_seconds_count"))
        self.assertEqual(seen.value("backup_upload_bytes_total", source="legacy"), size)
        for direction, least in (("rcvd", size), ("sent", 0)):
            name = f"grpc_server_call_{direction}_total_compressed_message_size_bytes"
            self.assertGreater(seen.value(f"{name}_sum", grpc_method="UploadFile", grpc_status="OK"), least)
            self.assertEqual(seen.value(f"{name}_count"), seen.value("grpc_server_call_duration_seconds_count"))
        self.assertEqual(seen.value("backup_upload_bytes_total", source="grpc"), len(b"from the API"))
        self.assertEqual(seen.value("backup_resends_total"), 1)
        self.assertEqual(seen.value("backup_crypto_failures_total", stage="content"), 1)
        self.assertEqual(seen.value("backup_crypto_failures_total"), 1)
        self.assertEqual(seen.value("backup_rekeys_total", result="refused"), 1)
        self.assertEqual(seen.by_label("backup_versions", "state"), {"received": 0, "verified": good + 3, "abandoned": 1})

        # Only large files go into packs; what came by way of the API was not encrypted.
        phases = {phase: seen.value("backup_upload_duration_seconds_count", phase=phase)
                  for phase in ("receive", "decrypt", "fsync", "commit")}
        self.assertEqual(phases, {"receive": good + 5, "decrypt": good + 4, "fsync": good // 3 * 2, "commit": good + 5})
        self.assertGreaterEqual(seen.value("backup_upload_duration_seconds_sum", phase="decrypt"), 0)

    def check_bridge(self, bridged, good, closed):
        def requests(request, result="ok"):
            return bridged.value("backup_bridge_requests_total", request=request, result=result)
        self.assertEqual([requests(kind) for kind in ("register", "public_key", "reconnect", "file", "valid", "retry", "abort")],
                         [6, 6, 0, good + 4, good + 3, 2, 2])
        self.assertEqual([requests("file", "CONTENT_REJECTED"), requests("file", "CLIENT_NOT_FOUND"),
                          requests("reconnect", "CLIENT_NOT_FOUND"), requests("public_key", "REKEY_REFUSED")], [1, 1, 1, 1])
        self.assertEqual(bridged.value("backup_bridge_request_duration_seconds_count"),
                         bridged.value("backup_bridge_requests_total"))
        self.assertEqual(bridged.value("backup_bridge_connections_total"), CountingConnection.opened)
        self.assertEqual(bridged.by_label("backup_bridge_connections_closed_total", "reason"),
                         {**closed, "eof": CountingConnection.opened - sum(closed.values())})
        self.assertEqual(set(bridged.by_label("backup_bridge_connections", "state").values()), {0})
        self.assertEqual(bridged.by_label("backup_bridge_bytes_total", "direction"),
                         {"in": CountingConnection.sent, "out": CountingConnection.received})
        self.assertEqual(bridged.by_label("backup_bridge_wrong_protocol_total", "detected"), {"http1": 1})
        self.assertEqual(bridged.by_label("backup_bridge_protocol_errors_total", "kind"), {"unknown_request": 1})
        self.assertEqual(bridged.value("grpc_client_attempt_started_total", grpc_method="UploadFile"), good + 8)
        self.assertEqual(bridged.value("backup_bridge_upstream_up"), 1)
        self.assertEqual(bridged.value("backup_bridge_spool_bytes"), 0)
        self.assertEqual(bridged.value("backup_bridge_ride_through_total"), 0)

    def check_clients(self, seen, cluster, plain, begin):
        clients = [json.loads(line) for line in self.backupctl(cluster, "--json", "client", "list").splitlines()]
        ids = {client["name"]: client["client_id"] for client in clients}
        self.assertEqual(len(ids), 7)  # "stranger" was registered when its reconnect was denied.
        self.assertEqual(seen.value("backup_clients"), len(ids))
        kept = seen.by_label("backup_client_bytes", "client")
        for number in range(5):
            self.assertEqual(kept[ids[f"client {number}"]], plain)
        self.assertEqual(kept[ids["unlucky"]], 2 * len(b"content") + len(b"from the API"))
        self.assertEqual(seen.value("backup_stored_bytes", kind="logical"), sum(kept.values()))
        resends = seen.by_label("backup_client_resends_total", "client")
        self.assertEqual({name for name, client_id in ids.items() if resends[client_id]}, {"unlucky"})
        success = seen.by_label("backup_client_last_success_timestamp_seconds", "client")
        self.assertEqual({name for name, client_id in ids.items() if not success[client_id]}, {"stranger"})
        for name, client_id in ids.items():
            if name != "stranger":
                self.assertTrue(begin - 1 <= success[client_id] <= time.time(), name)

    def check_documentation(self, seen, program):
        rows = documented()
        for name, family in seen.families.items():
            self.assertIn(name, rows)
            labels, where = rows[name]
            self.assertIn(where, (program, "both"), name)
            for found in family.label_names():
                if name == "backup_build_info" and program == "bridge":
                    labels = labels - {"sqlite"}
                self.assertEqual(found, labels, name)

    def test_metrics_and_command_agree_on_who_is_stale(self):
        """By minutes here; that the thresholds of the metrics are hours is service_metrics_test's."""
        cluster = self.start()
        for name in (b"never", b"old"):
            client = Client(cluster.port, name).sign_up()
            if name != b"never":
                client.back_up(b"file", b"content")

        def stale(age):
            return {json.loads(line)["client_id"] for line in
                    self.backupctl(cluster, "--json", "client", "stale", f"--older-than={age}").splitlines()}
        self.wait_until(lambda: len(stale("3s")) == 2, "two clients are stale")
        Client(cluster.port, b"fresh").sign_up().back_up(b"file", b"content")
        seen = self.scraper("service").stop()
        success = seen.by_label("backup_client_last_success_timestamp_seconds", "client")
        registered = seen.by_label("backup_client_registered_timestamp_seconds", "client")
        self.assertEqual(len(registered), 3)
        # As the alert ClientStale has it.
        ages = {client: time.time() - (success[client] or registered[client]) for client in registered}
        newest, second, _ = sorted(ages.values())
        between = (newest + second) / 2
        self.assertEqual(stale(f"{between}s"), {client for client, age in ages.items() if age > between})
        for hours in (36, 168):
            self.assertEqual(stale(f"{hours}h"), set())
            self.assertEqual(seen.value("backup_clients_stale", threshold=f"{hours}h"), 0)

    def test_wrong_checksums_on_purpose_are_counted(self):
        cluster = self.start(service_flags=["--corrupt_checksums=true"])
        client = Client(cluster.port, b"debugged").sign_up()
        self.assertFalse(client.send_file(b"file", b"content"))
        service = self.scraper("service")
        self.wait_until(lambda: service.last.value("grpc_server_calls_in_flight") == 0, "a call does not end")
        seen = service.stop()
        self.assertEqual(seen.value("backup_debug_faults_injected_total"), 1)
        self.assertEqual(seen.value("backup_mode", mode="corrupt_checksums"), 1)
        self.assertEqual(seen.value("backup_mode"), 1)

    def test_the_bridge_tells_that_its_service_is_away_and_that_it_rode_through(self):
        cluster = self.start()
        client = Client(cluster.port, b"patient").sign_up()
        bridge = self.scraper("bridge")
        cluster.service.stop()
        self.wait_until(lambda: not bridge.last.value("backup_bridge_upstream_up"), "the service is not missed")
        done = threading.Thread(target=client.back_up, args=[b"file", b"content"])
        done.start()
        self.wait_until(lambda: bridge.last.value("grpc_client_attempt_started_total", grpc_method="UploadFile") >= 2,
                        "the upload is not tried again")
        cluster.start_service()
        done.join(WAIT_S)
        self.assertFalse(done.is_alive())
        self.wait_until(lambda: bridge.last.value("backup_bridge_upstream_up"), "the service is not found")
        seen = bridge.stop()
        self.assertEqual(seen.by_label("backup_bridge_ride_through_total", "outcome"), {"recovered": 1})
        self.assertEqual(seen.value("backup_bridge_ride_through_seconds_count"), 1)
        self.assertGreater(seen.value("backup_bridge_ride_through_seconds_sum"), 0)


if __name__ == "__main__":
    unittest.main()
