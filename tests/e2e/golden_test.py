"""Replays recorded conversations of real clients against both processes: the client's bytes as they were recorded, with our
ids and the content under our session key; our answers must be what the client takes, and its files as it had them."""

import tempfile
import unittest

from Cryptodome.Cipher import AES

import dialect_client as c
from cluster import Cluster
from recordings import STYLES, Transcript
from stored_files import all_newest_verified, name_text

NO_IV = bytes(16)
# Of the 3 000 bytes of b3's file, though a byte more was encrypted.
B3_CHECKSUM = 0x9B86E22F


def under_key(ciphertext, old_key, new_key):
    """The same plaintext and padding under another key; an initial vector in front of it stays one."""
    return AES.new(new_key, AES.MODE_CBC, NO_IV).encrypt(AES.new(old_key, AES.MODE_CBC, NO_IV).decrypt(ciphertext))


class Replay:
    """One transcript against one cluster."""

    def __init__(self, test, port, name):
        self.test, self.port = test, port
        self.transcript = Transcript(name)
        self.style = self.transcript.style
        self.dialect = self.style.family.dialect
        self.recorded_id, self.our_id = None, None
        self.recorded_key, self.our_key = None, None
        self.request, self.ciphertext = None, None

    def run(self):
        connection, lines = None, self.transcript.lines
        while lines:
            mark, message = lines.pop(0)
            if mark == "##":
                if connection:
                    connection.close()
                connection = c.Connection(self.port)
            elif mark == "C>":
                connection.send(self.ours([message, *self.packets_that_follow(message)]))
            else:
                self.check(message, connection.receive())
                if self.style.ends_connection:
                    connection.require_end()
        connection.close()

    def packets_that_follow(self, message):
        lines = self.transcript.lines
        while self.dialect.kind_of(message) == "FILE" and lines and lines[0][0] == "C>":
            yield lines.pop(0)[1]

    def ours(self, messages):
        """What the client would have sent, had it talked to us."""
        self.request = messages[0]
        messages = list(map(self.with_our_id, messages))
        if self.dialect.kind_of(self.request) == "FILE":
            return self.under_our_key(b"".join(messages), self.pieces(messages))
        return b"".join(messages)

    def with_our_id(self, message):
        if self.dialect.kind_of(message) == "REGISTER":
            return message
        for place in self.transcript.places(message).values():
            if place.field.kind == "CLIENT_ID":
                self.test.assertEqual(place.of(message), self.recorded_id)
                message = message[:place.begin] + self.our_id + message[place.end:]
        return message

    def integer(self, message, in_header, kind):
        place = self.transcript.places(message)[in_header, kind]
        return self.dialect.read_integer(place.field, place.of(message))

    def bodies(self, message):
        """Where the parts of the content are in a message, which bare parts may follow."""
        content, head = self.dialect.content, self.transcript.head_size(message)
        fields = head - self.dialect.request_header_size
        counted = self.integer(message, True, "PAYLOAD_SIZE") - fields
        size = counted if counted > 0 else len(message) - head
        yield head, head + size
        end = head + size
        if content.packets and content.packets.header_on_first_only:
            while end < len(message):
                yield end + fields, end + fields + size
                end += fields + size
        elif self.style.encrypted_blocks:
            left = self.integer(message, False, "CONTENT_SIZE") - size
            for begin in range(end + -end % self.dialect.padding.multiple_of, len(message), content.blocks.size):
                size = min(left, content.blocks.size)
                yield begin, begin + size
                left -= size

    def pieces(self, messages):
        """What was encrypted on its own: for each piece the places of its bytes in all messages."""
        content, places, offset = self.dialect.content, [], 0
        for message in messages:
            places += [range(offset + begin, offset + end) for begin, end in self.bodies(message)]
            offset += len(message)
        size = self.integer(self.request, False, "CONTENT_SIZE")
        if content.packets and size > len(places[0]):
            return [[at for place in places for at in place][:size]]
        step = content.encrypted_piece_size
        return [place[at:at + step] for place in places for at in range(0, len(place), step)] if step else places

    def under_our_key(self, data, pieces):
        ours, self.ciphertext = bytearray(data), b""
        for places in pieces:
            piece = under_key(bytes(data[at] for at in places), self.recorded_key, self.our_key)
            self.ciphertext += piece
            for at, byte in zip(places, piece):
                ours[at] = byte
        return bytes(ours)

    def check(self, recorded, data):
        """Against the recorded answer, but as docs/wire-protocol.md wants it where the original server differs."""
        described, parts = self.dialect.split_answer(recorded)
        request = self.dialect.kind_of(self.request)
        expected = self.dialect.answer_to(described.kind, request, self.style.family.id_in_front)
        answer = self.dialect.open_answer(data, expected, padded=self.style.padded[1])
        if described.kind == "REGISTERED":
            self.recorded_id, self.our_id = parts["CLIENT_ID"], answer["CLIENT_ID"]
        self.test.assertEqual(answer["CLIENT_ID"], self.our_id)
        if described.kind in ("KEY_ACCEPTED", "RECONNECTED"):
            self.our_key, self.recorded_key = map(self.session_key, (answer["SESSION_KEY"], parts["SESSION_KEY"]))
            self.test.assertIn(self.recorded_key, self.transcript.aes_keys)
            self.test.assertEqual(len(self.our_key), len(self.recorded_key))
        if described.kind == "FILE_RECEIVED":
            self.check_file(answer)
            if self.style.family.name == "b3":  # What its client takes is not what was encrypted, but the file.
                self.test.assertEqual(answer["CHECKSUM"], B3_CHECKSUM)

    def session_key(self, encrypted):
        return c.opened_key(self.transcript.rsa, encrypted, self.dialect.cryptography.key_encryption)

    def check_file(self, answer):
        """The client's fields come back as they were sent, of packets the first one's; some servers cleaned them up."""
        name = self.transcript.places(self.request)[False, "FILE_NAME"].of(self.request)
        self.test.assertEqual(answer["FILE_NAME"], name)
        self.test.assertEqual(answer["CONTENT_SIZE"], self.integer(self.request, False, "CONTENT_SIZE"))
        plaintext = self.transcript.contents[name.split(b"\0")[0]]
        self.test.assertEqual(answer["CHECKSUM"], c.checksums(plaintext, self.ciphertext)[self.style.checksum])


class GoldenTest(unittest.TestCase):
    def replay(self, names, *bridge_flags):
        with tempfile.TemporaryDirectory() as directory, Cluster(directory, bridge_flags=bridge_flags) as cluster:
            for name in names:
                with self.subTest(transcript=name):
                    replay = Replay(self, cluster.port, name)
                    replay.run()
                    self.assertEqual(all_newest_verified(cluster.service, replay.our_id), {
                        name_text(name): content for name, content in replay.transcript.contents.items()})

    def test_all_families_on_one_port(self):
        self.replay([name for name in STYLES if name != "d1"])

    def test_family_d_where_it_is_expected(self):
        self.replay(("a1", "d1", "e1"), "--family_of_1025=D")


if __name__ == "__main__":
    unittest.main()
