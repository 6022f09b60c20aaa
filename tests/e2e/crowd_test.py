"""Many clients at once: what they hold is bounded, others are served beside them, and when they go everything of them
goes. Resident memory is no timing: it can be asserted."""

import os
import pathlib
import re
import resource
import socket
import struct
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import cluster as c  # noqa: E402
import model_client as m  # noqa: E402

KIBIBYTE = 1 << 10
MEBIBYTE = 1 << 20
DEADLINE_S = 60
IDLE_CONNECTIONS = 4000
IDLE_CONNECTION_LIMIT = 10 * KIBIBYTE  # 100 MiB for 10 000.
# The service keeps some connections to its database, and SQLite the files of further ones that were needed at once: it
# cannot close them while others hold locks, and uses them again. Far fewer than one for each upload.
KEPT_DESCRIPTORS = 100
UPLOADS = 400
UPLOAD_SIZE = MEBIBYTE
SENT_OF_UPLOAD = 256 * KIBIBYTE
# For 1000 uploads 256 MiB in the bridge and 512 MiB in the service; what does not grow with their number included.
BRIDGE_LIMIT = 240 * MEBIBYTE
SERVICE_LIMIT = 300 * MEBIBYTE


def raise_descriptor_limit():
    """Here and in the processes started from here."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def memory(process, field="VmRSS"):
    status = pathlib.Path(f"/proc/{process.process.pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status).group(1)) * KIBIBYTE


def descriptors(process):
    return len(os.listdir(f"/proc/{process.process.pid}/fd"))


def wait_until(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {DEADLINE_S} s: {what}")
        time.sleep(0.02)


def begin_upload(client, name, sent):
    """A connection on which so much of a file's content was sent."""
    connection = client.connect()
    payload = struct.pack("<I", UPLOAD_SIZE) + m.name_field(name) + bytes(sent)
    connection.send(client.id, client.version, m.FILE, payload, payload_size=4 + m.NAME_SIZE + UPLOAD_SIZE)
    return connection


class CrowdTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise_descriptor_limit()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.cluster = c.Cluster(folder.name)
        self.addCleanup(self.cluster.__exit__)
        m.ModelClient(self.cluster.port, b"before").sign_up().back_up(b"f", b"content")

    def parts(self):
        return len(os.listdir(self.cluster.data_dir / "store" / "tmp"))

    def test_idle_connections_cost_little(self):
        bridge = self.cluster.bridge
        memory_before, descriptors_before = memory(bridge), descriptors(bridge)
        sockets = [socket.create_connection(("127.0.0.1", self.cluster.port)) for _ in range(IDLE_CONNECTIONS)]
        wait_until(lambda: descriptors(bridge) > IDLE_CONNECTIONS, "all connections are held")
        m.ModelClient(self.cluster.port, b"beside").sign_up().back_up(b"f", b"content")
        grown = memory(bridge) - memory_before
        self.assertLess(grown, IDLE_CONNECTIONS * IDLE_CONNECTION_LIMIT)
        for one in sockets:
            one.close()
        wait_until(lambda: descriptors(bridge) <= descriptors_before + 1, "all connections are let go")
        m.ModelClient(self.cluster.port, b"after").sign_up().back_up(b"f", b"content")

    def test_stalled_uploads_stay_within_bounds_and_leave_nothing(self):
        cluster = self.cluster
        crowd = m.ModelClient(cluster.port, b"crowd").sign_up()
        descriptors_before = descriptors(cluster.bridge), descriptors(cluster.service)
        connections = [begin_upload(crowd, b"file %d" % i, SENT_OF_UPLOAD) for i in range(UPLOADS)]
        wait_until(lambda: self.parts() == UPLOADS, "all uploads are on their way")
        m.ModelClient(cluster.port, b"beside").sign_up().back_up(b"large", bytes(2 * MEBIBYTE))
        self.assertLess(memory(cluster.bridge, "VmHWM"), BRIDGE_LIMIT)
        self.assertLess(memory(cluster.service, "VmHWM"), SERVICE_LIMIT)
        for connection in connections:
            connection.close()
        wait_until(lambda: self.parts() == 0, "no part of an upload is left")
        for process, before in zip((cluster.bridge, cluster.service), descriptors_before):
            wait_until(lambda p=process, b=before: descriptors(p) <= b + KEPT_DESCRIPTORS,
                       f"{process.name} closed everything")
        # What was not whole was not stored, and what is whole now is.
        self.assertEqual(crowd.verdict(m.VALID, b"file 0"), m.ERROR)
        crowd.back_up(b"file 0", bytes(MEBIBYTE))

    def test_crowds_one_after_the_other_take_no_more_memory_than_the_first_ones(self):
        crowd = m.ModelClient(self.cluster.port, b"crowd").sign_up()
        peaks = []
        for _ in range(6):
            connections = [begin_upload(crowd, b"file %d" % i, SENT_OF_UPLOAD) for i in range(UPLOADS // 4)]
            wait_until(lambda: self.parts() == UPLOADS // 4, "all uploads are on their way")
            peaks.append(memory(self.cluster.bridge, "VmHWM") + memory(self.cluster.service, "VmHWM"))
            for connection in connections:
                connection.close()
            wait_until(lambda: self.parts() == 0, "no part of an upload is left")
        # The first ones fill the pools; how far is chance, because an upload's part is there before all that it holds.
        self.assertLess(peaks[5] - peaks[2], 64 * MEBIBYTE, peaks)


if __name__ == "__main__":
    unittest.main()
