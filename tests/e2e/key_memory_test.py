"""What of keys is in the service's memory, from outside: known keys are looked for in all of it, while they are used and afterwards."""

import concurrent.futures
import os
import pathlib
import random
import re
import struct
import time
import unittest

import model_client as m
from Cryptodome.Cipher import AES
from cluster import wait_until
from keys_test import SEALED, KeysTest as KeysTestBase

CLIENTS = 32
NONCE, TAG = 12, 16
PIECE = 256 << 10  # Bytes that are read at once.
OVERLAP = 4096
GONE_S = 20
LEAST_LOOKS = 3  # One may take as long, where there are many keys.


def writable_memory(pid):
    """All that the process may write to, piece by piece; pieces overlap, so that nothing is missed that lies on two."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            begin, end, access, rest = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) (.*)", line).groups()
            if not access.startswith("rw") or "/dev/" in rest:
                continue
            for at in range(int(begin, 16), int(end, 16), PIECE):
                try:
                    read = os.pread(memory.fileno(), min(PIECE + OVERLAP, int(end, 16) - at), at)
                except OSError:
                    break  # It was given back meanwhile.
                if read.count(0) < len(read):  # Most of it was never used.
                    yield read


def pieces(key):
    """What is left of a key where its memory was given back and nothing else: the allocator overwrites the beginning."""
    size = 16 if key.isalnum() else 8  # Of text so many are as many bits.
    parts = {key[at:at + size] for at in range(0, len(key) - size + 1, size)}
    return parts | {spelling for part in parts for spelling in (part.hex().encode(), part.hex().upper().encode())}


class KeyMemoryTest(KeysTestBase):
    def setUp(self):
        super().setUp()
        self.master_key = self.new_key("canary")

    def found(self, keys):
        """Of which of these, by name, there is anything in the service's memory."""
        left = {name: pieces(key) for name, key in keys.items()}
        found = set()
        for memory in writable_memory(self.cluster.service.process.pid):
            for name, parts in left.items():
                if name not in found and any(part in memory for part in parts):
                    found.add(name)
        return found

    def assert_gone(self, keys):
        # What an answer was made of may be freed a moment after it.
        deadline = time.monotonic() + GONE_S
        looks = 0
        while keys and (looks < LEAST_LOOKS or time.monotonic() < deadline):
            keys = {name: keys[name] for name in self.found(keys)}
            looks += 1
        self.assertEqual(set(keys), set())

    def start_with_canary(self, *flags):
        try:
            self.start(service_flags=[*SEALED, f"--master_key_file={self.master_key}", *flags])
            next(writable_memory(self.cluster.service.process.pid))
        except PermissionError as error:
            self.skipTest(f"nobody may look into memory here: {error}")

    def generation_keys(self):
        """By their numbers: what wraps them is known here."""
        key = bytes.fromhex(self.master_key.read_text())
        keys = {}
        for line in self.generations_file.read_text().splitlines()[1:-1]:
            number, seconds, _, wrapped = line.split(" ")
            wrapped = bytes.fromhex(wrapped)
            cipher = AES.new(key, AES.MODE_GCM, nonce=wrapped[:NONCE])
            cipher.update(f"backup key generation {number} of {seconds}".encode())
            keys[int(number)] = cipher.decrypt_and_verify(wrapped[NONCE:-TAG], wrapped[-TAG:])
        return keys

    def back_up(self, client, number):
        client.back_up(b"small %d" % number, random.Random(number).randbytes(1000))
        client.back_up(b"large %d" % number, random.Random(number).randbytes(300_000))

    def test_session_keys_are_there_for_no_longer_than_they_are_used(self):
        self.start_with_canary()

        def use_keys(number):
            client = m.ModelClient(self.cluster.port, b"client %d" % number).sign_up()
            self.back_up(client, number)
            self.assertEqual(client.reconnect(), m.RECONNECTED)
            return client

        # One after the other they would have the same place in memory, and the next one's key would be there.
        with concurrent.futures.ThreadPoolExecutor(CLIENTS // 2) as threads:
            clients = list(threads.map(use_keys, range(CLIENTS)))
        keys = {f"session key {number}": client.aes for number, client in enumerate(clients)}
        self.assert_gone(keys)
        # A call that goes on has its client's key, and no other: what is there is found.
        client = clients[0]
        ciphertext = client.encrypt(random.Random(0).randbytes(300_000))
        payload = struct.pack("<I", len(ciphertext)) + m.name_field(b"slow") + ciphertext
        slow = client.connect()
        slow.send(client.id, client.version, m.FILE, payload[:-1000], payload_size=len(payload))
        used = {"session key 0": client.aes}
        wait_until(lambda: self.found(used), "the key is used")
        self.assertEqual(self.found(keys), set(used))
        slow.close()
        self.assert_gone(keys)

    def test_a_generation_that_was_retired_is_gone_and_so_is_the_text_of_the_master_key(self):
        self.start_with_canary("--retire_interval=1s")
        self.back_up(m.ModelClient(self.cluster.port, b"client").sign_up(), 1)
        text = self.master_key.read_text().strip()
        self.assert_gone({"the key file's text": text.encode(), "and in capitals": text.upper().encode()})
        self.backupctl("key", "rotate")
        keys = {f"generation {number}": key for number, key in self.generation_keys().items()}
        # Both open what they have sealed, so they are there, as the master key is: what is there is found.
        in_use = {**keys, "the master key": bytes.fromhex(text)}
        self.assertEqual(self.found(in_use), {"generation 1", "generation 2", "the master key"})
        self.backupctl("key", "retire", "1")
        wait_until(lambda: self.generations("number") == [(2,)], "generation 1 is gone")
        self.assert_gone({"generation 1": keys["generation 1"]})
        self.assertEqual(self.found({"generation 2": keys["generation 2"]}), {"generation 2"})

    def test_what_a_command_says_is_gone(self):
        text = self.master_key.read_text().strip()
        self.start(service_flags=[*SEALED, f"--master_key_command=/bin/cat {self.master_key}"])
        self.assert_gone({"its text": text.encode()})
        self.assertEqual(self.found({"the key": bytes.fromhex(text)}), {"the key"})

    def test_a_key_that_is_made_leaves_no_text(self):
        self.start(service_flags=SEALED)
        text = self.key_file.read_text().strip()
        self.assert_gone({"its text": text.encode()})


if __name__ == "__main__":
    unittest.main()
