"""The modes of both programs, from outside: idle shutdown, ports, debug, encrypt, log levels."""

import pathlib
import re
import signal
import socket
import subprocess
import unittest

import model_client as m
import system_calls
from cluster import BIN_DIR, ClusterTest, Process

WAIT_S = 30
SLOW_CALL_US = 700_000
CONTENT = bytes(range(256)) * 1000


class ModesTest(ClusterTest):
    def backupctl(self, *arguments, code=0):
        done = subprocess.run([BIN_DIR / "backupctl", *arguments], capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout

    def start_bridge(self, *flags):
        bridge = Process("backup-bridge", ["--service=127.0.0.1:1", *flags], self.folder)
        self.addCleanup(bridge.stop)
        return bridge


class IdleShutdownTest(ModesTest):
    def test_both_announce_it_and_end_with_0(self):
        for name, flags in (("backup-service", [f"--data_dir={self.folder}/data", "--listen=127.0.0.1:0"]),
                            ("backup-bridge", ["--port=0"])):
            with self.subTest(name):
                idle = Process(name, [*flags, "--idle_shutdown=400ms"], self.folder)
                self.addCleanup(idle.stop)
                self.assertEqual(idle.process.wait(timeout=WAIT_S), 0)
                for quarter in ("100ms", "200ms", "300ms"):
                    self.assertIn(f"no connection and no call for {quarter}", idle.log())
                self.assertIn("idle for 400ms", idle.log())

    @unittest.skipUnless(system_calls.is_there(), "needs strace(1), and the right to trace")
    def test_the_start_is_no_idle_time(self):
        # Of renaming what tells the port, among others.
        slow = system_calls.prefix("rename", f"delay_enter={SLOW_CALL_US}", "1+")
        for name, flags, started in (("backup-service", [f"--data_dir={self.folder}/data", "--listen=127.0.0.1:0"], "serving on"),
                                     ("backup-bridge", ["--port=0"], "listening on")):
            with self.subTest(name):
                idle = Process(name, [*flags, "--idle_shutdown=400ms"], self.folder, prefix=slow)
                self.addCleanup(idle.stop)
                idle.process.wait(timeout=WAIT_S)
                self.assertIn(started, idle.log())
                self.assertNotIn("no connection", idle.log().partition(started)[0])

    def test_a_connection_and_debug_keep_the_bridge_alive(self):
        busy = self.start_bridge("--port=0", "--idle_shutdown=200ms")
        debugging = self.start_bridge("--port=0", "--idle_shutdown=200ms", "--debug")
        connection = socket.create_connection(("127.0.0.1", busy.port))
        self.addCleanup(connection.close)
        with self.assertRaises(subprocess.TimeoutExpired):
            busy.process.wait(timeout=1)
        self.assertIsNone(debugging.process.poll())
        connection.close()
        self.assertEqual(busy.process.wait(timeout=WAIT_S), 0)


class PortsTest(ModesTest):
    def free_port(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    def test_port_info_is_taken_unless_a_port_is_given(self):
        port = self.free_port()
        (self.folder / "port.info").write_text(f"{port}\n")
        self.assertEqual(self.start_bridge().port, port)
        self.assertNotEqual(self.start_bridge("--port=0").port, port)

    def test_a_bad_port_file_is_a_warning_and_a_port_in_use_falls_back(self):
        (self.folder / "port.info").write_text("no port\n")
        free = self.free_port()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            in_use = taken.getsockname()[1]
            # The default port of the warning may be in use on this machine, or not.
            bridge = self.start_bridge(f"--fallback_ports={in_use},{free}")
            self.assertIn(bridge.port, (1357, free))
            bridge.wait_for_log("listening on")
            self.assertRegex(bridge.log(), r"W.*no port number in port.info, taking port 1357")
            other = self.start_bridge(f"--port={in_use}", f"--fallback_ports={in_use},0")
            other.wait_for_log(f"listening on 127.0.0.1:{other.port}")
            self.assertIn(f"port {in_use} is in use", other.log())

    def test_no_port_at_all_stops_the_start_with_one_line(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = subprocess.run([BIN_DIR / "backup-bridge", f"--port={port}"], capture_output=True, text=True,
                                  timeout=WAIT_S)
        self.assertEqual(done.returncode, 11)
        self.assertIn(f"cannot start: every port to try is in use: {port}", done.stderr)


class DebugTest(ModesTest):
    def test_traces_with_hex_but_without_keys_and_content(self):
        cluster = self.start(service_flags=["--debug"], bridge_flags=["--debug", "--corrupt_checksums=false"])
        client = m.ModelClient(cluster.port, b"traced").sign_up()
        secret = b"precious content of this file"
        self.assertFalse(client.send_file(b"f", secret))
        cluster.service.wait_for_log("rpc=UploadFile client=")
        cluster.bridge.wait_for_log("request=file")
        log = cluster.service.log() + cluster.bridge.log()
        self.assertRegex(log, r"UploadFile.*\bf\b")
        for hidden in (client.aes, secret, client.encrypt(secret)):
            for form in (hidden.hex(), hidden.hex(" "), hidden.decode("latin-1")):
                self.assertNotIn(form, log)
        self.assertRegex(log, r"head=[0-9a-f]{46}")

    def test_the_true_checksum_plus_one_even_if_both_corrupt(self):
        cluster = self.start(service_flags=["--debug"], bridge_flags=["--debug"])
        client = m.ModelClient(cluster.port, b"wrong", version=1).sign_up()
        ciphertext = client.encrypt(b"x")
        payload = len(ciphertext).to_bytes(4, "little") + m.name_field(b"f") + ciphertext
        code, answer = client.request(m.FILE, payload)
        self.assertEqual(code, m.FILE_RECEIVED)
        self.assertEqual(int.from_bytes(answer[275:], "little"), m.zlib.crc32(ciphertext) + 1)

    def test_the_log_level_changes_at_run_time(self):
        cluster = self.start()
        service = f"--service=127.0.0.1:{cluster.service_port}"
        self.backupctl(service, "log-level", "serve", "debug")
        self.backupctl(service, "client", "list")
        cluster.service.wait_for_log("serve.h")
        self.backupctl(service, "log-level", "*", "error")
        self.backupctl(service, "client", "list")
        before = cluster.service.log()
        self.backupctl(service, "client", "list")
        self.assertEqual(cluster.service.log(), before)


class EncryptTest(ModesTest):
    FLAGS = ["--encrypt", "--inline_blob_limit=0"]

    def back_up(self, at_rest):
        cluster = self.start(service_flags=[*self.FLAGS, f"--at_rest={at_rest}"],
                             bridge_flags=["--encrypt", "--self_backup_dir="])
        client = m.ModelClient(cluster.port, b"laptop").sign_up()
        client.back_up(b"notes.txt", CONTENT)
        cluster.service.stop()
        blobs = [path for path in (cluster.data_dir / "store" / "blobs").rglob("*") if path.is_file()]
        self.assertEqual(len(blobs), 1)
        return cluster, client, blobs[0]

    def check_decrypted(self, *arguments):
        out = self.folder / "decrypted"
        self.backupctl("decrypt", *arguments, "-o", str(out), "--force")
        self.assertEqual(out.read_bytes(), CONTENT)

    def test_sealed_files_are_unreadable_and_decrypt_offline(self):
        cluster, _, blob = self.back_up("sealed")
        self.assertNotIn(CONTENT[:64], blob.read_bytes())
        self.check_decrypted(str(blob), f"--master_key_file={cluster.data_dir}/master.key")
        self.check_decrypted(f"--data_dir={cluster.data_dir}", "--client=laptop", "--file=notes.txt")
        self.assertEqual((cluster.data_dir / "master.key").stat().st_mode & 0o777, 0o600)

    def test_a_sealed_file_that_was_changed_is_refused(self):
        cluster, _, blob = self.back_up("sealed")
        damaged = bytearray(blob.read_bytes())
        damaged[10] ^= 1
        blob.write_bytes(damaged)
        self.backupctl("decrypt", str(blob), f"--master_key_file={cluster.data_dir}/master.key", "-o",
                       str(self.folder / "out"), code=14)
        self.assertFalse((self.folder / "out").exists())

    def test_a_clients_ciphertext_is_kept_as_it_came_and_decrypts_with_the_logged_key(self):
        cluster, client, blob = self.back_up("client")
        self.assertTrue(blob.read_bytes().startswith(client.encrypt(CONTENT)))
        cluster.service.wait_for_log(" key=")
        key = re.search(r"E.*CRITICAL.*key=([0-9a-f]{32})", cluster.service.log()).group(1)
        self.assertEqual(bytes.fromhex(key), client.aes)
        self.check_decrypted(str(blob), f"--key={key}")
        self.check_decrypted(f"--data_dir={cluster.data_dir}", "--client=laptop", "--file=notes.txt")

    def test_only_critical_events_are_logged(self):
        cluster, _, _ = self.back_up("sealed")
        cluster.bridge.stop()
        for line in (cluster.service.log() + cluster.bridge.log()).splitlines():
            self.assertRegex(line, r"^E.*CRITICAL")

    def test_the_bridge_backs_up_its_clients_sources_through_the_front_door(self):
        cluster = self.start(service_flags=self.FLAGS, bridge_flags=["--encrypt"])
        cluster.bridge.wait_for_log("was backed up through")
        cluster.bridge.wait_for_log("CRITICAL")
        service = f"--service=127.0.0.1:{cluster.service_port}"
        name = self.backupctl(service, "--quiet", "client", "list").splitlines()[1].split()[0]
        self.assertTrue(name.startswith("self-test-"))
        self.backupctl(service, "restore", "--client", name, "--to", str(self.folder / "restored"))
        sources = pathlib.Path(__file__).resolve().parents[2] / "legacy_client"
        restored = {path.name: path.read_bytes() for path in (self.folder / "restored").rglob("*") if path.is_file()}
        self.assertEqual(restored, {path.name: path.read_bytes() for path in sources.rglob("*") if path.is_file()})

    def test_a_failed_self_backup_is_critical_and_harms_nothing(self):
        cluster = self.start(bridge_flags=["--encrypt", "--self_backup_dir=/no/such/folder"])
        cluster.bridge.wait_for_log("self-test failed")
        m.ModelClient(cluster.port, b"laptop").sign_up().back_up(b"f", b"content")


class SignalTest(ModesTest):
    def test_sigterm_lets_a_request_in_flight_finish(self):
        cluster = self.start()
        client = m.ModelClient(cluster.port, b"slow").sign_up()
        ciphertext = client.encrypt(CONTENT)
        payload = len(ciphertext).to_bytes(4, "little") + m.name_field(b"f") + ciphertext
        connection = client.connect()
        self.addCleanup(connection.close)
        connection.send(client.id, 3, m.FILE, payload[:1000], payload_size=len(payload))
        cluster.bridge.process.send_signal(signal.SIGTERM)
        cluster.bridge.wait_for_log("stopping")
        connection.socket.sendall(payload[1000:])
        self.assertEqual(connection.answer()[0], m.FILE_RECEIVED)
        self.assertEqual(cluster.bridge.process.wait(timeout=WAIT_S), 0)


if __name__ == "__main__":
    unittest.main()
