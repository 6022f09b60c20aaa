"""Old clients behind real balancers, HAProxy and nginx: who they are told to be is who they are."""

import subprocess
import sys
import unittest

import balancers
import model_client as m
from client_trace import start_trace
from cluster import BIN_DIR, ClusterTest

SKIPPED = 77


class BehindBalancersTest(ClusterTest):
    def check(self, kind):
        cluster = self.start(bridge_flags=[f"--proxy_protocol_from={balancers.ADDRESS}"])
        with balancers.balancer(kind, cluster.port, self.folder) as port:
            # An old client as it is.
            (self.folder / "file").write_bytes(b"content")
            (self.folder / "transfer.info").write_text(f"127.0.0.1:{port}\nlaptop\nfile\n")
            done = subprocess.run([BIN_DIR / "legacy-client", f"--dir={self.folder}"], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            # Its address, port and all, is that of the client's own socket.
            for host, form in (("127.0.0.1", "127.0.0.1:{}"), ("::1", "[::1]:{}")):
                client = m.ModelClient(port, f"of {host}".encode(), host=host)
                connection = client.connect()
                self.addCleanup(connection.close)
                peer = form.format(connection.socket.getsockname()[1])
                trace = start_trace(self, cluster.service_port, "--address", peer)
                self.assertEqual(client.register(connection), m.REGISTERED)
                self.assertIn(peer, trace.stdout.readline())
                cluster.bridge.wait_for_log(f"peer={peer} ")
            self.assertNotIn("PROXY header", cluster.bridge.log())

    def test_haproxy_version_1(self):
        self.check("haproxy1")

    def test_haproxy_version_2(self):
        self.check("haproxy2")

    def test_nginx(self):
        self.check("nginx")


if __name__ == "__main__":
    if not all(balancers.works(name) for name in ("haproxy", "nginx")):
        print("NOT TESTED: there are no HAProxy and nginx, which ./check unpacks into build/balancers")
        sys.exit(SKIPPED)
    unittest.main()
