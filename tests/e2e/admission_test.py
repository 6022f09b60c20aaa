"""Who may connect to the bridge: networks, and clients behind a balancer."""

import socket
import struct
import subprocess
import unittest

import model_client as m
from cluster import BIN_DIR, ClusterTest
from exposition import scrape

# Of a client that there is not: a documentation address.
STRANGER = "2001:db8::7"


def proxy_header(address, port):
    """Version 2, of a client of IPv6."""
    numbers = socket.inet_pton(socket.AF_INET6, address) + socket.inet_pton(socket.AF_INET6, "::1")
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x21" + struct.pack(">H", 36) + numbers + struct.pack(">HH", port, 1357)


class AdmissionTest(ClusterTest):
    def connect_from(self, address, port):
        connection = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(address, 0))
        self.addCleanup(connection.close)
        return connection

    def test_the_network_that_a_header_tells_decides(self):
        cluster = self.start(bridge_flags=["--proxy_protocol_from=127.0.0.7", "--allow_networks=2001:db8::/32,127.0.0.1",
                                           "--deny_networks=2001:db8:bad::/48", "--operations_listen=127.0.0.1:0",
                                           f"--operations_bound_port_file={self.folder / 'operations'}"])
        client = m.ModelClient(cluster.port, b"behind")
        connection = client.connect()
        connection.socket.close()
        connection.socket = self.connect_from("127.0.0.7", cluster.port)
        connection.socket.sendall(proxy_header(STRANGER, 4660))
        self.assertEqual(client.register(connection), m.REGISTERED)
        cluster.bridge.wait_for_log(f"peer=[{STRANGER}]:4660 ")
        denied = self.connect_from("127.0.0.7", cluster.port)
        denied.sendall(proxy_header("2001:db8:bad::1", 1))
        self.assertEqual(denied.recv(1), b"")
        self.assertEqual(self.connect_from("127.0.0.2", cluster.port).recv(1), b"")
        self.assertEqual(m.ModelClient(cluster.port, b"direct").register(), m.REGISTERED)
        closed = scrape(int((self.folder / "operations").read_text())).value("backup_bridge_connections_closed_total",
                                                                                       reason="denied")
        self.assertEqual(closed, 2)

    def test_new_clients_wait_when_there_are_too_many_and_known_ones_go_on(self):
        cluster = self.start(bridge_flags=["--registrations_per_address=2/1h"])
        known = m.ModelClient(cluster.port, b"known")
        known.sign_up()
        self.assertEqual(m.ModelClient(cluster.port, b"second").register(), m.REGISTERED)
        late = m.ModelClient(cluster.port, b"late")
        self.assertEqual(late.register(), m.ERROR)
        cluster.bridge.wait_for_log("--registrations_per_address")
        known.back_up(b"file", b"content")
        # Another address has its own.
        connection = m.Connection(cluster.port)
        connection.socket.close()
        connection.socket = self.connect_from("127.0.0.2", cluster.port)
        self.assertEqual(late.register(connection), m.REGISTERED)

    def test_a_list_that_is_wrong_is_refused(self):
        for flag in ("proxy_protocol_from", "allow_networks", "deny_networks"):
            done = subprocess.run([BIN_DIR / "backup-bridge", f"--{flag}=10.0.0.0/8,10.1.0.0/8", "--check_config"], capture_output=True,
                                  text=True, timeout=60)
            self.assertEqual(done.returncode, 10, done.stderr)
            self.assertIn(f"--{flag}", done.stderr)
            self.assertIn('"10.1.0.0/8" is no network: of so many bits that would be 10.0.0.0/8', done.stderr)

    def test_lists_that_keep_the_self_test_out(self):
        for flags in (["--allow_networks=10.0.0.0/8"], ["--deny_networks=127.0.0.0/8"], ["--proxy_protocol_from=127.0.0.1"]):
            def check(*more):
                return subprocess.run([BIN_DIR / "backup-bridge", "--encrypt", "--check_config", *flags, *more], capture_output=True,
                                      text=True, timeout=60)
            self.assertEqual(check().returncode, 10)
            self.assertIn("self-test", check().stderr)
            self.assertEqual(check("--self_backup_dir=").returncode, 0)


if __name__ == "__main__":
    unittest.main()
