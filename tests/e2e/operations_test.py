"""The operations ports of both programs, and who has not backed up for long."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import time
import unittest
import urllib.error
import urllib.request
from unittest import mock

import model_client as m
from cluster import BIN_DIR, Cluster, ClusterTest, Process

WAIT_S = 30
# A file of this size is passed on as it comes; a small one only when it is there.
STREAMED = 100_000


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=WAIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def wait_for(port, path, code):
    deadline = time.monotonic() + WAIT_S
    while True:
        answer = get(port, path)
        if answer[0] == code or time.monotonic() > deadline:
            return answer
        time.sleep(0.05)


class OperationsTest(ClusterTest):
    def flags(self, name):
        return ["--operations_listen=127.0.0.1:0", f"--operations_bound_port_file={self.folder}/{name}.ops"]

    def port(self, name):
        path = self.folder / f"{name}.ops"
        deadline = time.monotonic() + WAIT_S
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return int(path.read_text())

    def start(self, *service_flags):
        cluster = super().start(service_flags=[*self.flags("service"), *service_flags],
                          bridge_flags=self.flags("bridge"))
        return cluster, self.port("service"), self.port("bridge")

    def backupctl(self, cluster, *arguments):
        return subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{cluster.service_port}", *arguments],
                              capture_output=True, text=True, timeout=WAIT_S, check=True).stdout

    def test_health_and_metrics_of_a_working_pair(self):
        cluster, service, bridge = self.start()
        for port, probes in ((service, ("catalog", "files", "space", "self")), (bridge, ("self", "upstream"))):
            self.assertEqual(get(port, "/livez")[0], 200)
            code, text = wait_for(port, "/readyz?verbose", 200)
            self.assertEqual(code, 200, text)
            for probe in probes:
                self.assertIn(f"{probe}: ok\n", text)
        begin = time.time()
        client = m.ModelClient(cluster.port, b"secret name").sign_up()
        client.back_up(b"private.txt", b"content")
        cluster.bridge.wait_for_log("request=valid")

        seen = get(service, "/metrics")[1]
        identity = json.loads(self.backupctl(cluster, "--json", "client", "list"))["client_id"]
        success = f'backup_client_last_success_timestamp_seconds{{client="{identity}"}} '
        value = next(line for line in seen.splitlines() if line.startswith(success)).rpartition(" ")[2]
        self.assertAlmostEqual(float(value), begin, delta=WAIT_S)
        for text in ('backup_uploads_total{reason="OK",result="verified",source="legacy"} 1', "backup_db_up 1",
                     'backup_self_probe_success{probe="self"} 1', "backup_storage_free_bytes ", "backup_open_fds ",
                     'grpc_server_call_started_total{grpc_method="UploadFile"} 1', 'backup_mode{mode="debug"} 0'):
            self.assertIn(text, seen)
        bridged = get(bridge, "/metrics")[1]
        self.assertRegex(bridged, r'backup_bridge_requests_total\{dialect="[^"]+",request="file",result="ok"\} 1\n')
        self.assertRegex(bridged, r'backup_bridge_last_request_timestamp_seconds\{dialect="[^"]+"\} ')
        for hidden in ("secret name", "private.txt"):
            self.assertNotIn(hidden, seen + bridged)

    def test_a_bridge_without_its_service_lives_but_is_not_ready(self):
        lonely = Process("backup-bridge", ["--service=127.0.0.1:1", "--port=0", *self.flags("bridge")], self.folder)
        self.addCleanup(lonely.stop)
        port = self.port("bridge")
        self.assertEqual(get(port, "/livez")[0], 200)
        code, text = wait_for(port, "/readyz?verbose", 503)
        self.assertEqual(code, 503)
        self.assertIn("upstream: no connection", wait_for(port, "/readyz?verbose", 503)[1] or text)
        self.assertEqual(get(port, "/elsewhere")[0], 404)

    def test_what_is_under_way_is_not_safe_to_stop(self):
        cluster, service, bridge = self.start()
        for port in (service, bridge):
            self.assertEqual(wait_for(port, "/drainz", 200), (200, "safe to stop\n"))
        client = m.ModelClient(cluster.port, b"busy").sign_up()
        with contextlib.closing(client.connect()) as connection:
            half = struct.pack("<I", STREAMED) + m.name_field(b"half") + bytes(16)
            connection.send(client.id, 3, m.FILE, half, payload_size=len(half) + STREAMED - 16)
            for port in (service, bridge):
                self.assertEqual(wait_for(port, "/drainz", 412), (412, "busy\n"))
                self.assertEqual(get(port, "/livez"), (200, "ok\n"))
        for port in (service, bridge):
            self.assertEqual(wait_for(port, "/drainz", 200)[0], 200)

    def test_a_draining_process_is_not_ready_but_lives(self):
        cluster, service, bridge = self.start()
        client = m.ModelClient(cluster.port, b"slow").sign_up()
        connection = client.connect()
        content = client.encrypt(bytes(STREAMED))
        payload = struct.pack("<I", len(content)) + m.name_field(b"file") + content
        connection.send(client.id, 3, m.FILE, payload[:-16], payload_size=len(payload))
        for process, port in ((cluster.bridge, bridge), (cluster.service, service)):
            self.assertEqual(wait_for(port, "/readyz", 200)[0], 200)
            self.assertEqual(wait_for(port, "/drainz", 412)[0], 412)
            process.process.send_signal(signal.SIGTERM)
            code, text = wait_for(port, "/readyz?verbose", 503)
            self.assertEqual(code, 503)
            self.assertIn("draining\n", text)
            self.assertEqual(get(port, "/livez")[0], 200)
            self.assertIn('backup_mode{mode="draining"} 1\n', get(port, "/metrics")[1])
        connection.socket.sendall(content[-16:])
        self.assertEqual(connection.answer()[0], m.FILE_RECEIVED)
        connection.close()
        self.assertEqual([process.process.wait(WAIT_S) for process in (cluster.bridge, cluster.service)], [0, 0])

    def test_a_service_that_cannot_write_says_so(self):
        _, service, _ = self.start()
        self.assertEqual(wait_for(service, "/readyz", 200)[0], 200)
        (self.folder / "data/probe").mkdir()
        code, text = wait_for(service, "/readyz?verbose", 503)
        self.assertEqual(code, 503)
        self.assertIn("files: cannot write ", text)
        self.assertIn("catalog: ok\n", text)
        self.assertIn('backup_self_probe_success{probe="files"} 0\n', get(service, "/metrics")[1])

    def test_clients_beyond_the_cap_are_counted_not_shown(self):
        cluster, service, _ = self.start("--metrics_max_clients=1")
        for name in (b"one", b"two", b"three"):
            m.ModelClient(cluster.port, name).sign_up()
        seen = get(service, "/metrics")[1]
        self.assertEqual(seen.count("backup_client_last_success_timestamp_seconds{"), 1)
        self.assertIn("backup_metrics_dropped_series 2", seen)

    def test_stale_clients_are_those_without_a_recent_verified_file(self):
        cluster, _, _ = self.start()
        m.ModelClient(cluster.port, b"lazy").sign_up()
        m.ModelClient(cluster.port, b"busy").sign_up().back_up(b"f", b"content")
        self.assertNotIn("lazy", self.backupctl(cluster, "client", "stale", "--older-than=36h"))
        time.sleep(1.1)
        m.ModelClient(cluster.port, b"new").sign_up()
        stale = [json.loads(line)["name"]
                 for line in self.backupctl(cluster, "--json", "client", "stale", "--older-than=1s").splitlines()]
        self.assertIn("lazy", stale)
        self.assertNotIn("new", stale)

    def test_the_service_manager_is_told_when_both_are_ready_and_when_they_stop(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(WAIT_S)
            manager.bind(str(self.folder / "notify"))
            with mock.patch.dict(os.environ, NOTIFY_SOCKET=str(self.folder / "notify")):
                service = Process("backup-service", [f"--data_dir={self.folder}/data", "--listen=127.0.0.1:0"], self.folder)
                self.addCleanup(service.stop)
                self.assertEqual(manager.recv(100), b"READY=1")
                health = [BIN_DIR / "backupctl", f"--service=127.0.0.1:{service.port}", "health"]
                subprocess.run(health, check=True, capture_output=True, timeout=WAIT_S)
                bridge = Process("backup-bridge", ["--port=0", f"--service=127.0.0.1:{service.port}"], self.folder)
                self.addCleanup(bridge.stop)
                self.assertEqual(manager.recv(100), b"READY=1")
            m.ModelClient(bridge.port, b"client").sign_up()
            for process in (bridge, service):
                self.assertEqual(process.stop(), 0)
                self.assertEqual(manager.recv(100), b"STOPPING=1")
            manager.settimeout(0)
            self.assertRaises(BlockingIOError, manager.recv, 100)

    def test_a_bad_address_stops_the_start(self):
        done = subprocess.run([BIN_DIR / "backup-bridge", "--port=0", "--operations_listen=nonsense"],
                              capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, 10)
        self.assertIn("--operations_listen=nonsense", done.stderr)


if __name__ == "__main__":
    unittest.main()
