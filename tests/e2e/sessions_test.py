"""An independent client of family C against both real processes."""

import os
import random
import struct
import tempfile
import threading
import time
import unittest

import model_client as m
from cluster import Cluster
from stored_files import newest_verified

SIZES = (0, 1, 15, 16, 17, 1024, 65535, 65536, 65537, 3 << 20)


class SessionsTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def start(self, **flags):
        cluster = Cluster(self.directory.name, **flags)
        self.addCleanup(cluster.__exit__)
        return cluster

    def check_stored(self, cluster, client, expected):
        for name, content in expected.items():
            self.assertEqual(newest_verified(cluster.service, client.id, name), content, name)

    def test_every_size_in_both_variants_one_connection_per_request(self):
        cluster = self.start()
        clients = []
        for version in (1, 3):
            client = m.ModelClient(cluster.port, b"client %d" % version, version).sign_up()
            contents = {b"file %d" % size: os.urandom(size) for size in SIZES if version == 1 or size < 1 << 20}
            for name, content in contents.items():
                client.back_up(name, content)
            clients.append((client, contents))
        for client, contents in clients:
            self.check_stored(cluster, client, contents)

    def test_many_requests_on_one_connection_and_a_second_run_that_reconnects(self):
        cluster = self.start()
        client = m.ModelClient(cluster.port, b"one connection")
        connection = client.connect()
        client.sign_up(connection)
        for number in range(50):
            client.back_up(b"file %d" % number, b"content %d" % number, connection)
        first_key = client.aes
        again = client.connect()
        self.assertEqual(client.reconnect(again), m.RECONNECTED)
        self.assertEqual(client.aes, first_key)
        client.back_up(b"file 0", b"newer", again)
        self.check_stored(cluster, client, {b"file 0": b"newer", b"file 49": b"content 49"})

    def test_names_are_data(self):
        cluster = self.start()
        client = m.ModelClient(cluster.port, b"names").sign_up()
        names = [b"../../etc/passwd", b"C:\\x", b"\xff\xfe\x80", b"n" * 255, b"a\nb", b"100%"]
        for name in names:
            client.back_up(name, b"content of " + name)
        self.check_stored(cluster, client, {name: b"content of " + name for name in names})

    def test_an_unknown_client_is_denied_and_goes_on_with_the_fresh_id(self):
        cluster = self.start()
        client = m.ModelClient(cluster.port, b"lost its identity")
        client.id = bytes(range(16, 32))
        connection = client.connect()
        self.assertEqual(client.reconnect(connection), m.DENIED)
        denied_id = client.id
        self.assertEqual(client.register(connection), m.REGISTERED)
        self.assertEqual(client.id, denied_id)
        self.assertEqual(client.exchange_key(connection), m.KEY_ACCEPTED)
        client.back_up(b"f", b"content", connection)

    def test_a_name_that_has_a_key_is_taken(self):
        cluster = self.start()
        m.ModelClient(cluster.port, b"taken").sign_up()
        self.assertEqual(m.ModelClient(cluster.port, b"taken").register(), m.NOT_REGISTERED)

    def test_a_second_different_key_is_refused_and_the_same_one_is_not(self):
        cluster = self.start()
        client = m.ModelClient(cluster.port, b"pinned").sign_up()
        key = client.aes
        self.assertEqual(client.exchange_key(), m.KEY_ACCEPTED)
        self.assertEqual(client.aes, key)
        client.rsa = m.RSA.generate(1024, e=17)
        self.assertEqual(client.exchange_key(), m.ERROR)

    def test_a_retry_notice_is_answered_only_if_the_client_waits(self):
        cluster = self.start()
        client = m.ModelClient(cluster.port, b"retries")
        connection = client.connect()
        client.sign_up(connection)
        client.back_up(b"f", b"good", connection)
        self.assertTrue(client.send_file(b"f", b"newer", connection))
        # Sends the file at once: the next answer is the file's.
        connection.send(client.id, 3, m.RETRY, m.name_field(b"f"))
        self.assertTrue(client.send_file(b"f", b"newer", connection))
        # Waits: gets the acknowledgement.
        self.assertEqual(client.verdict(m.RETRY, b"f", connection), m.ACKNOWLEDGED)
        self.assertTrue(client.send_file(b"f", b"newer", connection))
        self.assertEqual(client.verdict(m.ABORT, b"f", connection), m.ACKNOWLEDGED)
        self.check_stored(cluster, client, {b"f": b"good"})

    def test_several_clients_at_once(self):
        cluster = self.start()
        failures = []

        def run(number):
            try:
                client = m.ModelClient(cluster.port, b"client %d" % number, random.choice((1, 3))).sign_up()
                for file in range(10):
                    client.back_up(b"f%d" % file, os.urandom(random.randrange(100_000 // (file + 1))))
            except Exception as error:  # Shown by the main thread.
                failures.append(error)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_a_restart_of_the_service_between_requests_is_not_noticed(self):
        cluster = self.start()
        client = m.ModelClient(cluster.port, b"patient")
        connection = client.connect()
        client.sign_up(connection)
        for number in range(3):
            cluster.service.stop()
            restart = threading.Timer(0.3, cluster.start_service)
            restart.start()
            client.back_up(b"f", b"content %d" % number, connection)
            restart.join()
        self.check_stored(cluster, client, {b"f": b"content 2"})

    def test_wrong_checksums_under_debug(self):
        cluster = self.start(service_flags=["--debug"])
        client = m.ModelClient(cluster.port, b"debug").sign_up()
        self.assertFalse(client.send_file(b"f", b"content"))


class BadInputTest(unittest.TestCase):
    """Each gets the dialect's answer or the end of the connection, and leaves what was verified untouched."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.cluster = Cluster(cls.directory.name, bridge_flags=[
            "--header_timeout=300ms", "--body_timeout=500ms", "--max_connections=40", "--drain_timeout=2s"])
        cls.client = m.ModelClient(cls.cluster.port, b"victim").sign_up()
        cls.client.back_up(b"f", b"precious")

    @classmethod
    def tearDownClass(cls):
        stored = newest_verified(cls.cluster.service, cls.client.id, b"f")
        cls.cluster.__exit__()
        cls.directory.cleanup()
        assert stored == b"precious", stored

    def raw(self, data):
        connection = self.client.connect()
        self.addCleanup(connection.close)
        connection.socket.sendall(data)
        return connection

    def file_payload(self, ciphertext, size=None, name=b"f"):
        return struct.pack("<I", len(ciphertext) if size is None else size) + m.name_field(name) + ciphertext

    def test_wrong_sizes_and_contradictions(self):
        for code, payload in ((m.REGISTER, b"x"), (m.REGISTER, bytes(300)), (m.VALID, bytes(271)),
                              (m.PUBLIC_KEY, bytes(416)), (m.PUBLIC_KEY, bytes(10)),
                              (m.FILE, self.file_payload(bytes(32), 4000)), (m.FILE, self.file_payload(b"")),
                              (999, b""), (2100, bytes(16))):
            with self.subTest(code=code, size=len(payload)):
                self.assertEqual(self.client.request(code, payload)[0], m.ERROR)

    def test_content_that_cannot_be_decrypted(self):
        # Random ciphertext has right padding once in 256 times.
        no_padding = m.AES.new(self.client.aes, m.AES.MODE_CBC, bytes(16)).encrypt(bytes(48))
        for ciphertext in (bytes(31), no_padding[:32], no_padding):
            with self.subTest(size=len(ciphertext)):
                self.assertEqual(self.client.request(m.FILE, self.file_payload(ciphertext))[0], m.ERROR)

    def test_an_empty_name(self):
        nobody = m.ModelClient(self.cluster.port, b"")
        self.assertEqual(nobody.register(), m.NOT_REGISTERED)
        payload = self.file_payload(self.client.encrypt(b"x"), name=b"")
        self.assertEqual(self.client.request(m.FILE, payload)[0], m.ERROR)

    def test_bad_keys(self):
        client = m.ModelClient(self.cluster.port, b"bad keys")
        client.register()
        too_small = m.RSA.generate(1024, e=17).publickey().export_key("DER")[:100]
        for key in (bytes(160), os.urandom(160), too_small.ljust(160, b"\1")):
            self.assertEqual(client.request(m.PUBLIC_KEY, m.name_field(b"bad keys") + key)[0], m.ERROR)
        self.assertEqual(client.exchange_key(), m.KEY_ACCEPTED)

    def test_a_file_for_an_unknown_client_or_before_its_key(self):
        stranger = m.ModelClient(self.cluster.port, b"stranger")
        stranger.id = bytes(range(100, 116))
        self.assertEqual(stranger.request(m.FILE, self.file_payload(bytes(32)))[0], m.ERROR)
        stranger.register()
        self.assertEqual(stranger.request(m.FILE, self.file_payload(bytes(32)))[0], m.ERROR)

    def test_a_stall_in_the_header_and_in_the_payload(self):
        self.assertEqual(self.raw(bytes(10)).answer()[0], m.ERROR)
        head = self.client.id + struct.pack("<BHI", 3, m.FILE, 259 + 4096) + struct.pack("<I", 4096) + m.name_field(b"f")
        self.assertEqual(self.raw(head + bytes(100)).answer()[0], m.ERROR)
        self.cluster.bridge.wait_for_log("sent only 10 bytes")
        self.cluster.bridge.wait_for_log("the client sent 100 bytes")

    def test_other_protocols_are_named_in_the_log(self):
        for hello, name in ((b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1"),
                            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
                            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), "TLS")):
            connection = self.raw(hello)
            self.assertEqual(connection.socket.recv(1), b"")
            self.cluster.bridge.wait_for_log(f"speaks {name}, not the backup protocol")

    def test_more_connections_than_the_limit(self):
        crowd = [self.client.connect() for _ in range(45)]
        self.assertEqual(crowd[-1].answer()[0], m.ERROR)
        for connection in crowd:
            connection.close()
        deadline = time.monotonic() + 10
        while True:  # The bridge sees the ends a moment later.
            try:
                if self.client.reconnect() == m.RECONNECTED:
                    return
            except ConnectionError:
                pass
            self.assertLess(time.monotonic(), deadline)


if __name__ == "__main__":
    unittest.main()
