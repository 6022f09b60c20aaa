"""A service that ran out of file descriptors answers again afterwards (the listener of gRPC 1.51 would not)."""

import resource
import socket
import tempfile
import time
import unittest

import cluster as c
import model_client as m

LIMIT = 64
FLOOD = 150


def flood(port):
    """Opens and closes many connections, more at once than the process can have."""
    sockets = []
    for _ in range(FLOOD):
        try:
            sockets.append(socket.create_connection(("127.0.0.1", port), timeout=5))
        except OSError:
            pass
    for one in sockets:
        one.close()


class DescriptorsTest(unittest.TestCase):
    def test_three_floods_and_then_an_answer(self):
        with tempfile.TemporaryDirectory() as directory:
            # The hard limit too: programs raise the other themselves.
            cluster = c.Cluster(directory, prefix=["prlimit", f"--nofile={LIMIT}:{LIMIT}"])
            with cluster:
                for daemon in (cluster.service, cluster.bridge):
                    self.assertEqual(resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE), (LIMIT, LIMIT))
                for _ in range(3):
                    flood(cluster.service_port)
                    flood(cluster.port)
                client = m.ModelClient(cluster.port, b"after the flood")
                deadline = time.monotonic() + 30
                while True:  # The ends of the flood's connections are seen a moment later.
                    try:
                        client.sign_up()
                        break
                    except (OSError, AssertionError):
                        self.assertLess(time.monotonic(), deadline)
                client.back_up(b"f", b"content")


if __name__ == "__main__":
    unittest.main()
