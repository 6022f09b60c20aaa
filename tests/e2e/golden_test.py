"""Replays recorded conversations of real clients of family C against both processes: the client's bytes as they were
recorded, with our ids and the content under our session key; our answers byte for byte, keys by decrypting them."""

import pathlib
import re
import struct
import sys
import tempfile
import unittest

from Cryptodome.Cipher import AES, PKCS1_OAEP
from Cryptodome.PublicKey import RSA
from Cryptodome.Util.Padding import pad, unpad

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import model_client as m  # noqa: E402
from cluster import Cluster  # noqa: E402

HEADER = struct.Struct("<16sBHI")
CONTENT_AT = HEADER.size + 4 + m.NAME_SIZE


class Replay:
    """One transcript against one cluster."""

    def __init__(self, test, port, path):
        text = path.read_text()
        self.test, self.port = test, port
        self.rsa = RSA.import_key(bytes.fromhex(re.search(r"RSA private key[^:]*: ([0-9a-f]+)", text).group(1)))
        self.recorded_keys = [bytes.fromhex(key) for key in re.findall(r"^# AES key[^:]*: ([0-9a-f]+)", text, re.M)]
        self.lines = [line for line in text.splitlines() if line[:2] in ("C>", "S>", "##")]
        self.recorded_key = None
        self.our_id = bytes(16)
        self.our_key = None

    def run(self):
        connection = None
        for line in self.lines:
            if line.startswith("##"):
                if connection:
                    connection.close()
                connection = m.Connection(self.port)
            elif line.startswith("C>"):
                connection.socket.sendall(self.ours(bytes.fromhex(line[3:])))
            else:
                self.check(bytes.fromhex(line[3:]), connection.answer())
        connection.close()

    def ours(self, message):
        """What the client would have sent, had it talked to us."""
        _, version, code, size = HEADER.unpack_from(message)
        if code == m.REGISTER:
            return message
        if code == m.FILE:
            plain = unpad(AES.new(self.recorded_key, AES.MODE_CBC, bytes(16)).decrypt(message[CONTENT_AT:]), 16)
            content = AES.new(self.our_key, AES.MODE_CBC, bytes(16)).encrypt(pad(plain, 16))
            self.plain, self.content = plain, content
            message = message[:CONTENT_AT] + content
        return self.our_id + message[16:]

    def check(self, recorded, answer):
        code, payload = answer
        recorded_code = struct.unpack_from("<H", recorded, 1)[0]
        self.test.assertEqual(code, recorded_code)
        if code == m.REGISTERED:
            self.our_id = payload
            self.test.assertEqual(len(payload), 16)
        elif code in (m.KEY_ACCEPTED, m.RECONNECTED):
            self.test.assertEqual(payload[:16], self.our_id)
            self.our_key = PKCS1_OAEP.new(self.rsa).decrypt(payload[16:])
            self.recorded_key = PKCS1_OAEP.new(self.rsa).decrypt(recorded[7 + 16:])
            self.test.assertIn(self.recorded_key, self.recorded_keys)
        elif code == m.FILE_RECEIVED:
            recorded_checksum = struct.unpack("<I", recorded[-4:])[0]
            is_cksum = recorded_checksum == m.cksum(self.plain)
            expected = m.cksum(self.plain) if is_cksum else m.zlib.crc32(self.content)
            # The client's fields come back as they were: everything but id and checksum is as recorded.
            self.test.assertEqual(payload, self.our_id + recorded[7 + 16:-4] + struct.pack("<I", expected))
        elif code == m.ACKNOWLEDGED:
            self.test.assertEqual(payload, self.our_id)  # The old server sent nothing; every client takes the id.
        else:
            self.test.fail(f"unexpected answer {code}")


class GoldenTest(unittest.TestCase):
    def test_recorded_clients_of_family_c(self):
        with tempfile.TemporaryDirectory() as directory, Cluster(directory) as cluster:
            for name in ("c1", "c2", "c3"):
                with self.subTest(transcript=name):
                    Replay(self, cluster.port, ROOT / "tests/testdata/wire" / f"{name}.txt").run()


if __name__ == "__main__":
    unittest.main()
