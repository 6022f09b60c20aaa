"""Bans: scanners earn them, operators set and lift them, and no client of the protocol ever earns one."""

import json
import pathlib
import socket
import struct
import subprocess
import tempfile
import unittest

import model_client as m
from cluster import BIN_DIR, Cluster, ClusterTest, wait_until
from exposition import scrape
from golden_test import Replay
from recordings import STYLES

# Documentation addresses: of clients that a balancer tells of, as nobody on this machine is ever banned.
SCANNER, OTHER, FRIEND = "203.0.113.7", "203.0.113.8", "198.51.100.9"
# Longer than a header, so that it need not be waited for.
FOREIGN = b"GET /index.html HTTP/1.1\r\nHost: bridge\r\n\r\n"
MOST = 5
USAGE = 2


def header_of(address):
    """Version 2 of the PROXY protocol."""
    numbers = socket.inet_aton(address) + socket.inet_aton("127.0.0.1")
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", 12) + numbers + struct.pack(">HH", 4660, 1357)


class BanTest(ClusterTest):
    def start_behind_balancer(self, *bridge_flags):
        self.operations = self.folder / "operations"
        self.cluster = self.start(bridge_flags=[
            "--proxy_protocol_from=127.0.0.0/8", f"--ban_after={MOST}/1h", "--operations_listen=127.0.0.1:0",
            f"--operations_bound_port_file={self.operations}", *bridge_flags])
        return self.cluster

    def connect(self, address):
        connection = m.Connection(self.cluster.port)
        self.addCleanup(connection.close)
        connection.socket.sendall(header_of(address))
        return connection

    def offend(self, address, times=1):
        for _ in range(times):
            connection = self.connect(address)
            connection.socket.sendall(FOREIGN)
            self.require_end(connection)

    @staticmethod
    def require_end(connection):
        try:
            received = connection.socket.recv(1)
        except ConnectionResetError:  # It has not read all that we sent.
            received = b""
        assert received == b"", "the bridge answers"

    def is_banned(self, address):
        """Whether a client that comes from there is turned away."""
        connection = self.connect(address)
        try:
            m.ModelClient(self.cluster.port, b"someone").register(connection)
        except ConnectionError:
            return True
        return False

    def ban(self, *arguments, code=0):
        done = subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", "--json", "ban", *arguments],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def listed(self):
        return {ban["network"]: ban for ban in self.ban("list")}

    def value(self, name, **labels):
        return scrape(int(self.operations.read_text())).value(name, **labels)

    def actions(self):
        """Of the audit log: what was done, and to what, without what lists were asked for."""
        done = subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", "--json", "audit", "list"],
                              capture_output=True, text=True, timeout=60, check=True)
        return [(entry["action"], entry["object"], entry["detail"]) for entry in map(json.loads, done.stdout.splitlines())
                if entry["action"].startswith("ban ")]

    def test_a_scanner_is_banned_and_nobody_else(self):
        cluster = self.start_behind_balancer()
        client = m.ModelClient(cluster.port, b"client")
        connection = self.connect(OTHER)
        client.sign_up(connection)
        self.offend(SCANNER, MOST)
        self.assertFalse(self.is_banned(SCANNER))
        self.offend(SCANNER)
        self.assertTrue(self.is_banned(SCANNER))
        client.back_up(b"file", b"content", connection)
        self.assertEqual(self.value("backup_bridge_offences_total", kind="foreign_protocol"), MOST + 1)
        self.assertEqual(self.value("backup_bridge_bans_total"), 1)
        self.assertGreaterEqual(self.value("backup_admission_rejected_total", reason="banned"), 1)
        # The service is told, and keeps it through a restart; so does the next bridge.
        wait_until(lambda: SCANNER in self.listed(), "the service knows of it")
        earned = self.listed()[SCANNER]
        self.assertEqual((earned["source"], earned["reason"], earned["strikes"]), ("BRIDGE", "foreign_protocol", 1))
        self.assertIn(" at 127.0.0.1:", earned["author"])
        cluster.service.stop()
        cluster.bridge.stop()
        cluster.start_service()
        cluster.start_bridge()
        wait_until(lambda: self.is_banned(SCANNER), "the new bridge knows of it")
        self.assertEqual(self.listed()[SCANNER], earned)
        self.assertFalse(self.is_banned(OTHER))
        # One line for a ban, none for whoever is turned away.
        self.assertEqual(cluster.bridge.log().count(SCANNER + " is banned for "), 1)
        told = [detail for action, _, detail in self.actions() if action == "ban earn"]
        self.assertEqual(len(told), 1)
        self.assertIn(SCANNER, told[0])

    def test_each_ban_in_a_row_is_longer(self):
        # Long enough for a slow machine to tell the service meanwhile.
        self.start_behind_balancer("--ban_first=15s", "--ban_longest=20s")
        self.offend(SCANNER, MOST + 1)
        wait_until(lambda: SCANNER in self.listed(), "the service knows of it")
        wait_until(lambda: not self.is_banned(SCANNER), "it ends")
        self.offend(SCANNER)
        self.assertTrue(self.is_banned(SCANNER))
        self.cluster.bridge.wait_for_log(f"address={SCANNER} is banned for 20s, for the 2. time in a row")
        wait_until(lambda: self.listed().get(SCANNER, {}).get("strikes") == 2, "the service knows of it")

    def test_operators_ban_and_lift(self):
        self.start_behind_balancer()
        open_connection = self.connect(SCANNER)
        self.assertEqual(m.ModelClient(self.cluster.port, b"early").register(open_connection), m.REGISTERED)
        self.assertEqual(self.ban("list"), [])
        added = self.ban("add", "203.0.113.0/29", "--for=1h", "--reason=scans\nme")[0]
        self.assertEqual((added["network"], added["source"], added["reason"], added["strikes"]),
                         ("203.0.113.0/29", "OPERATOR", "scans\nme", 0))
        self.assertEqual(self.listed(), {"203.0.113.0/29": added})
        wait_until(lambda: self.is_banned(SCANNER), "the bridge knows of it")
        self.assertFalse(self.is_banned(OTHER))
        with self.assertRaises(ConnectionError):
            m.ModelClient(self.cluster.port, b"late").register(open_connection)
        # Without the service it goes on.
        self.cluster.service.stop()
        self.assertTrue(self.is_banned(SCANNER))
        self.cluster.start_service()
        self.assertNotIn("end_time", self.ban("add", OTHER)[0])
        wait_until(lambda: self.is_banned(OTHER), "the bridge knows of it")
        self.ban("rm", "203.0.113.0/29")
        self.ban("rm", "203.0.113.0/29")
        wait_until(lambda: not self.is_banned(SCANNER), "the bridge knows that it is lifted")
        self.assertEqual(list(self.listed()), [OTHER])
        self.assertEqual([entry[:2] for entry in self.actions()],
                         [("ban add", "203.0.113.0/29"), ("ban add", OTHER)] + 2 * [("ban remove", "203.0.113.0/29")])
        self.assertIn("scans", self.actions()[0][2])

    def test_what_was_earned_is_lifted_by_an_operator(self):
        self.start_behind_balancer("--ban_longest=168h", "--ban_first=168h")
        self.offend(SCANNER, MOST + 1)
        wait_until(lambda: SCANNER in self.listed(), "the service knows of it")
        self.ban("rm", SCANNER)
        wait_until(lambda: not self.is_banned(SCANNER), "it is lifted")

    def test_a_network_that_is_never_banned(self):
        for flag in ("--never_ban_networks=203.0.113.0/24", f"--allow_networks={SCANNER},{FRIEND}"):
            with self.subTest(flag), tempfile.TemporaryDirectory() as folder:
                self.folder = pathlib.Path(folder)
                self.start_behind_balancer(flag)
                self.offend(SCANNER, 3 * MOST)
                self.assertEqual(self.value("backup_bridge_offences_total", kind="foreign_protocol"), 3 * MOST)
                self.ban("add", SCANNER)
                self.cluster.bridge.wait_for_log(f"network={SCANNER} is banned, but not here")
                self.assertFalse(self.is_banned(SCANNER))
                self.cluster.__exit__()

    def test_this_machine_is_never_banned(self):
        cluster = self.start(bridge_flags=["--ban_after=1/1h"])
        for _ in range(5):
            connection = m.Connection(cluster.port)
            connection.socket.sendall(FOREIGN)
            self.require_end(connection)
            connection.close()
        self.assertEqual(m.ModelClient(cluster.port, b"client").register(), m.REGISTERED)

    def test_bans_are_local_without_a_service(self):
        cluster = self.start_behind_balancer("--ride_through=1s")
        cluster.service.stop()
        self.offend(SCANNER, MOST + 1)
        self.assertTrue(self.is_banned(SCANNER))
        cluster.start_service()
        wait_until(lambda: SCANNER in self.listed(), "the service is told later")

    def test_it_may_be_off(self):
        self.start_behind_balancer("--ban_after=0")
        self.offend(SCANNER, 3 * MOST)
        self.assertFalse(self.is_banned(SCANNER))

    def test_what_is_wrong_is_refused(self):
        self.start_behind_balancer()
        for arguments in (["add", "0.0.0.0/0"], ["add", "host"], ["add", "10.1.0.0/8"], ["rm", "host"]):
            self.ban(*arguments, code=USAGE)
        self.ban("add", SCANNER, "--for=never", code=USAGE)
        self.assertEqual(self.ban("list"), [])


class NoClientOffends(unittest.TestCase):
    def test_recordings_of_all_clients_with_all_their_quirks(self):
        with tempfile.TemporaryDirectory() as directory:
            operations = pathlib.Path(directory) / "operations"
            flags = ["--operations_listen=127.0.0.1:0", f"--operations_bound_port_file={operations}"]
            for names, more in (([name for name in STYLES if name != "d1"], []), (["d1"], ["--family_of_1025=D"])):
                with Cluster(directory, bridge_flags=[*flags, *more]) as cluster:
                    for name in names:
                        with self.subTest(transcript=name):
                            Replay(self, cluster.port, name).run()
                    metrics = scrape(int(operations.read_text()))
                    self.assertEqual(metrics.value("backup_bridge_offences_total"), 0)
                    self.assertGreater(metrics.value("backup_bridge_requests_total"), 0)


if __name__ == "__main__":
    unittest.main()
