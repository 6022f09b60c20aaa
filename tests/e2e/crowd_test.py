"""Many clients at once: what they hold is bounded, others are served beside them, and when they go everything of them
goes. Resident memory is no timing: it can be asserted."""

import contextlib
import os
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess
import unittest

import exposition
import model_client as m
from cluster import BIN_DIR, ClusterTest, wait_until
from stored_files import newest_verified

KIBIBYTE = 1 << 10
MEBIBYTE = 1 << 20
IDLE_CONNECTIONS = 4000
IDLE_CONNECTION_LIMIT = 10 * KIBIBYTE  # 100 MiB for 10 000.
# The service keeps some connections to its database, each with a log. The database itself is not counted: SQLite keeps
# as many files of it as were needed at once, because it cannot close them while others hold locks, and uses them again.
KEPT_DESCRIPTORS = 20
UPLOADS = 1000
UPLOADS_OF_SMALL_CROWD = 100
UPLOAD_SIZE = MEBIBYTE
LARGE_UPLOAD_SIZE = 64 * MEBIBYTE
SENT_OF_UPLOAD = 256 * KIBIBYTE
TURNS_FOR_EACH_CORE = 4
# Of all of them together.
BRIDGE_LIMIT = 256 * MEBIBYTE
SERVICE_LIMIT = 512 * MEBIBYTE
# The largest file that the protocol has room for, less what it rounds up, and how much of it arrives.
HUGE = 4096 * MEBIBYTE - 4096
SENT_OF_HUGE = 100 * MEBIBYTE
BODY_TIMEOUT = "--body_timeout=2s"
JOBS = 11  # That have a thread of low priority: move, purge, repack, retain, retire, scrub, snapshot, sweep, train, the check of the catalog and that of the audit log.


def raise_descriptor_limit():
    """Here and in the processes started from here."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def memory(process, field="VmRSS"):
    status = pathlib.Path(f"/proc/{process.process.pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status).group(1)) * KIBIBYTE


def descriptors(process):
    count = 0
    for link in pathlib.Path(f"/proc/{process.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # Closed meanwhile.
            count += not os.readlink(link).endswith("/catalog.db")
    return count


def low_priority_threads(process):
    """How many threads stand behind the others, all by as much."""
    nice_values = []
    for stat in pathlib.Path(f"/proc/{process.process.pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # Ended meanwhile.
            nice_values.append(int(stat.read_text().rpartition(")")[2].split()[16]))
    assert len(set(nice_values)) <= 2, nice_values
    return sum(nice > min(nice_values) for nice in nice_values)


def begin_upload(client, name, sent, size=UPLOAD_SIZE):
    """A connection on which so much of a file's content was sent."""
    connection = client.connect()
    payload = struct.pack("<I", size) + m.name_field(name) + bytes(sent)
    connection.send(client.id, client.version, m.FILE, payload, payload_size=4 + m.NAME_SIZE + size)
    return connection


class CrowdTest(ClusterTest):
    @classmethod
    def setUpClass(cls):
        raise_descriptor_limit()

    def start_pair(self, *bridge_flags):
        """Both processes, each with a port for metrics, and one file that is safe."""
        ports = {name: self.folder / f"{name}.operations" for name in ("service", "bridge")}
        flags = {name: ["--operations_listen=127.0.0.1:0", f"--operations_bound_port_file={path}"]
                 for name, path in ports.items()}
        self.cluster = self.start(service_flags=flags["service"], bridge_flags=[*flags["bridge"], *bridge_flags])
        self.operations_ports = [int(path.read_text()) for path in ports.values()]
        self.before = m.ModelClient(self.cluster.port, b"before").sign_up()
        self.before.back_up(b"f", b"content")
        self.descriptors_before = self.descriptors()

    def parts(self):
        return list((self.cluster.data_dir / "store" / "tmp").iterdir())

    def stored_bytes(self):
        """Of packs that are whole, and of parts."""
        sizes = 0
        for path in (self.cluster.data_dir / "store").rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # Moved meanwhile.
                sizes += path.stat().st_size if path.is_file() and path.parent.name != "reserve" else 0
        return sizes

    def descriptors(self):
        return [descriptors(process) for process in (self.cluster.bridge, self.cluster.service)]

    def uploads(self):
        return exposition.scrape(self.operations_ports[0]).value("backup_uploads_in_progress")

    def waiting_bodies(self):
        return exposition.scrape(self.operations_ports[1]).value("backup_bridge_waiting_bodies")

    def assert_nothing_is_left(self):
        """Parts, buffers, spools and descriptors of those who are gone; and a new upload works at once."""
        m.ModelClient(self.cluster.port, b"after " + os.urandom(8)).sign_up().back_up(b"large", bytes(2 * MEBIBYTE))
        wait_until(lambda: not self.parts(), "no part of an upload is left")
        for port in self.operations_ports:
            for name, labels in (("backup_buffer_bytes", {"state": "used"}), ("backup_storage_temp_bytes", {}),
                                 ("backup_bridge_spool_bytes", {}), ("backup_uploads_in_progress", {})):
                wait_until(lambda p=port, n=name, by=labels: exposition.scrape(p).value(n, **by) == 0, f"{name} is 0")
        wait_until(lambda: all(now <= before + KEPT_DESCRIPTORS
                               for now, before in zip(self.descriptors(), self.descriptors_before)),
                   "descriptors are closed")

    def assert_what_was_acknowledged_is_there(self):
        self.assertEqual(newest_verified(self.cluster.service, self.before.id, b"f"), b"content")
        self.assertEqual(self.cluster.service.stop(), 0)

    def test_idle_connections_cost_little(self):
        self.start_pair()
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
        self.start_pair()
        cluster = self.cluster
        crowd = m.ModelClient(cluster.port, b"crowd").sign_up()
        connections = [begin_upload(crowd, b"file %d" % i, SENT_OF_UPLOAD) for i in range(UPLOADS)]
        wait_until(lambda: self.uploads() == UPLOADS, "all uploads are on their way")
        m.ModelClient(cluster.port, b"beside").sign_up().back_up(b"large", bytes(2 * MEBIBYTE))
        self.assertLess(memory(cluster.bridge, "VmHWM"), BRIDGE_LIMIT)
        self.assertLess(memory(cluster.service, "VmHWM"), SERVICE_LIMIT)
        for connection in connections:
            connection.close()
        self.assert_nothing_is_left()
        # What was not whole was not stored, and what is whole now is.
        self.assertEqual(crowd.verdict(m.VALID, b"file 0"), m.ERROR)
        crowd.back_up(b"file 0", bytes(MEBIBYTE))
        self.assert_what_was_acknowledged_is_there()

    def test_stalled_uploads_that_are_timed_out_leave_nothing(self):
        self.start_pair(BODY_TIMEOUT)
        crowd = m.ModelClient(self.cluster.port, b"crowd").sign_up()
        connections = [begin_upload(crowd, b"file %d" % i, SENT_OF_UPLOAD) for i in range(UPLOADS)]
        self.assertEqual([connection.answer()[0] for connection in connections], [m.ERROR] * UPLOADS)
        self.assert_nothing_is_left()
        for connection in connections:
            connection.close()
        self.assert_what_was_acknowledged_is_there()

    def test_one_client_that_stops_or_disappears_in_the_middle_of_4_gib_leaves_nothing(self):
        self.start_pair(BODY_TIMEOUT)
        for end in (signal.SIGSTOP, signal.SIGKILL):
            with self.subTest(end):
                folder = self.folder / end.name
                folder.mkdir()
                with open(folder / "huge", "wb") as file:
                    for _ in range(2 * SENT_OF_HUGE // MEBIBYTE):  # What repeats itself is stored once.
                        file.write(os.urandom(MEBIBYTE))
                    file.truncate(HUGE)
                (folder / "transfer.info").write_text(f"127.0.0.1:{self.cluster.port}\n{end.name}\nhuge\n")
                client = subprocess.Popen([BIN_DIR / "legacy-client", f"--dir={folder}", "--quiet"])
                self.addCleanup(client.wait)
                self.addCleanup(client.kill)
                wait_until(lambda: self.stored_bytes() > SENT_OF_HUGE, "much arrived")
                client.send_signal(end)
                self.assert_nothing_is_left()
        self.assert_what_was_acknowledged_is_there()

    def test_threads_of_large_bodies_and_only_those_stand_behind_the_others(self):
        self.start_pair()
        cluster = self.cluster
        crowd = m.ModelClient(cluster.port, b"crowd").sign_up()
        small = begin_upload(crowd, b"small", SENT_OF_UPLOAD)
        wait_until(lambda: self.uploads() == 1, "the small upload is on its way")
        wait_until(lambda: (low_priority_threads(cluster.bridge), low_priority_threads(cluster.service)) == (0, JOBS),
                   "only jobs stand behind the others")
        large = begin_upload(crowd, b"large", LARGE_UPLOAD_SIZE // 2, LARGE_UPLOAD_SIZE)
        # The service receives and hashes on one, and writes on another.
        wait_until(lambda: (low_priority_threads(cluster.bridge), low_priority_threads(cluster.service)) == (1, JOBS + 2),
                   "the large upload's threads stand behind the others")
        m.ModelClient(cluster.port, b"beside").sign_up().back_up(b"f", b"content")
        for connection in (small, large):
            connection.close()
        wait_until(lambda: low_priority_threads(cluster.bridge) + low_priority_threads(cluster.service) == JOBS,
                   "the threads end with their upload")
        crowd.back_up(b"small", bytes(MEBIBYTE))

    def test_large_uploads_that_stall_in_their_turns_keep_nobody_out(self):
        self.start_pair()
        crowd = m.ModelClient(self.cluster.port, b"crowd").sign_up()
        # Enough for a client that is fast to stall in its turn.
        connections = [begin_upload(crowd, b"file %d" % i, LARGE_UPLOAD_SIZE // 4, LARGE_UPLOAD_SIZE)
                       for i in range(TURNS_FOR_EACH_CORE * os.cpu_count() * 3)]
        m.ModelClient(self.cluster.port, b"small").sign_up().back_up(b"f", b"content")
        m.ModelClient(self.cluster.port, b"large").sign_up().back_up(b"f", bytes(LARGE_UPLOAD_SIZE))
        wait_until(lambda: self.waiting_bodies() == 0, "nobody waits for a turn that takes too long")
        for connection in connections:
            connection.close()
        self.assert_nothing_is_left()
        self.assert_what_was_acknowledged_is_there()

    def test_crowds_one_after_the_other_take_no_more_memory_than_the_first_ones(self):
        self.start_pair()
        crowd = m.ModelClient(self.cluster.port, b"crowd").sign_up()
        peaks = []
        for _ in range(6):
            connections = [begin_upload(crowd, b"file %d" % i, SENT_OF_UPLOAD) for i in range(UPLOADS_OF_SMALL_CROWD)]
            wait_until(lambda: self.uploads() == UPLOADS_OF_SMALL_CROWD, "all uploads are on their way")
            peaks.append(memory(self.cluster.bridge, "VmHWM") + memory(self.cluster.service, "VmHWM"))
            for connection in connections:
                connection.close()
            wait_until(lambda: self.uploads() == 0 and not self.parts(), "nothing of an upload is left")
        # The first ones fill the pools; how far is chance, because an upload's part is there before all that it holds.
        self.assertLess(peaks[5] - peaks[2], 64 * MEBIBYTE, peaks)


if __name__ == "__main__":
    unittest.main()
