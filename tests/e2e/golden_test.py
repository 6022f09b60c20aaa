"""Replays recorded conversations of real clients of every family against both processes: the client's bytes as they were
recorded, with our ids and the content under our session key; our answers byte for byte, keys by decrypting them."""

import pathlib
import re
import struct
import tempfile
import unittest

from Cryptodome.Cipher import AES, PKCS1_OAEP
from Cryptodome.PublicKey import RSA
from Cryptodome.Util.Padding import pad, unpad

import model_client as m
from cluster import Cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADER = struct.Struct("<16sBHI")
WHOLE_FIELDS_SIZE = 4 + m.NAME_SIZE
PACKET_FIELDS_SIZE = 12 + m.NAME_SIZE
REGISTER_CODES = (825, 1025, 1100)
WHOLE_FILE_CODES = {"a": 1103, "b": 1103, "c": 1028}
PACKET_FILE_CODES = {"d": 1028, "e": 828}
ANSWER_BASES = (1600, 2100)
REGISTERED, KEY_ACCEPTED, FILE_RECEIVED, ACKNOWLEDGED, RECONNECTED = 0, 2, 3, 4, 5
NO_IV = bytes(16)


def decrypt(key, ciphertext):
    return unpad(AES.new(key, AES.MODE_CBC, NO_IV).decrypt(ciphertext), 16)


def encrypt(key, plain):
    return AES.new(key, AES.MODE_CBC, NO_IV).encrypt(pad(plain, 16))


class Replay:
    """One transcript against one cluster."""

    def __init__(self, test, port, path):
        text = path.read_text()
        self.test, self.port = test, port
        self.family = path.name[0]
        self.rsa = RSA.import_key(bytes.fromhex(re.search(r"RSA private key[^:]*: ([0-9a-f]+)", text).group(1)))
        self.recorded_keys = [bytes.fromhex(key) for key in re.findall(r"^# AES key[^:]*: ([0-9a-f]+)", text, re.M)]
        self.messages = [(line[:2], bytes.fromhex(line[3:]) if line[:2] != "##" else b"")
                         for line in text.splitlines() if line[:2] in ("C>", "S>", "##")]
        self.recorded_key = None
        self.recorded_id = None
        self.our_id = bytes(16)
        self.our_key = None

    def run(self):
        connection = None
        for place, (kind, message) in enumerate(self.messages):
            if kind == "##":
                if connection:
                    connection.close()
                connection = m.Connection(self.port)
            elif kind == "C>":
                connection.socket.sendall(self.ours(place, message))
            else:
                self.check(message, connection.answer())
        connection.close()

    def ours(self, place, message):
        """What the client would have sent, had it talked to us."""
        _, _, code, _ = HEADER.unpack_from(message)
        if code in REGISTER_CODES:
            return message
        payload = message[HEADER.size:]
        if code == WHOLE_FILE_CODES.get(self.family):
            payload = self.whole_file(payload)
        elif code == PACKET_FILE_CODES.get(self.family):
            payload = self.packet(place, payload)
        return self.our_id + message[16:HEADER.size] + payload.replace(self.recorded_id, self.our_id, 1)

    def whole_file(self, payload):
        fields = WHOLE_FIELDS_SIZE + (16 if payload.startswith(self.recorded_id) else 0)
        self.fields = payload[fields - WHOLE_FIELDS_SIZE:fields]
        self.plain = decrypt(self.recorded_key, payload[fields:])
        self.content = encrypt(self.our_key, self.plain)
        return payload[:fields] + self.content

    def packet(self, place, payload):
        """Of one stream the slice at its place; of packets that are each encrypted, this one."""
        bodies, index = self.packets_around(place)
        if index == 0:
            self.fields = payload[:4] + payload[12:PACKET_FIELDS_SIZE]
        recorded = b"".join(bodies)
        size = struct.unpack_from("<I", payload)[0]
        if size > len(bodies[index]):
            self.plain = decrypt(self.recorded_key, recorded[:size])
            self.content = encrypt(self.our_key, self.plain)
            before = sum(map(len, bodies[:index]))
            body = self.content[before:before + len(bodies[index])]
        else:
            self.plain = b"".join(decrypt(self.recorded_key, body) for body in bodies)
            body = encrypt(self.our_key, decrypt(self.recorded_key, bodies[index]))
        return payload[:PACKET_FIELDS_SIZE] + body

    def packets_around(self, place):
        """The bodies of all packets of the file, and which of them is the one at `place`."""
        def is_packet(at):
            kind, message = self.messages[at]
            return kind == "C>" and HEADER.unpack_from(message)[2] == PACKET_FILE_CODES[self.family]

        first = last = place
        while is_packet(first - 1):
            first -= 1
        while is_packet(last + 1):
            last += 1
        bodies = [self.messages[at][1][HEADER.size + PACKET_FIELDS_SIZE:] for at in range(first, last + 1)]
        return bodies, place - first

    def check(self, recorded, answer):
        code, payload = answer
        recorded_code = struct.unpack_from("<H", recorded, 1)[0]
        self.test.assertEqual(code, recorded_code)
        kind = code - max(base for base in ANSWER_BASES if base <= code)
        if kind == REGISTERED:
            self.recorded_id, self.our_id = recorded[7:], payload
            self.test.assertEqual(len(payload), 16)
        elif kind in (KEY_ACCEPTED, RECONNECTED):
            self.test.assertEqual(payload[:16], self.our_id)
            self.our_key = PKCS1_OAEP.new(self.rsa).decrypt(payload[16:])
            self.recorded_key = PKCS1_OAEP.new(self.rsa).decrypt(recorded[7 + 16:])
            self.test.assertIn(self.recorded_key, self.recorded_keys)
            self.test.assertEqual(len(self.our_key), len(self.recorded_key))
        elif kind == FILE_RECEIVED:
            recorded_checksum = struct.unpack("<I", recorded[-4:])[0]
            is_cksum = recorded_checksum == m.cksum(self.plain)
            expected = m.cksum(self.plain) if is_cksum else m.zlib.crc32(self.content)
            # The client's fields come back as they were sent, of packets the first one's; some servers cleaned them up.
            self.test.assertEqual(payload, self.our_id + self.fields + struct.pack("<I", expected))
        elif kind == ACKNOWLEDGED:
            self.test.assertEqual(payload, self.our_id)  # Some servers sent nothing; every client takes the id.
        else:
            self.test.fail(f"unexpected answer {code}")


class GoldenTest(unittest.TestCase):
    def replay(self, names, *bridge_flags):
        with tempfile.TemporaryDirectory() as directory, Cluster(directory, bridge_flags=bridge_flags) as cluster:
            for name in names:
                with self.subTest(transcript=name):
                    Replay(self, cluster.port, ROOT / "tests/testdata/wire" / f"{name}.txt").run()

    def test_all_families_on_one_port(self):
        self.replay(("a1", "b1", "c1", "c2", "c3", "e1", "e2"))

    def test_family_d_where_it_is_expected(self):
        self.replay(("a1", "d1", "e1"), "--family_of_1025=D")


if __name__ == "__main__":
    unittest.main()
