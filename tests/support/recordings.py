"""Recorded conversations of real clients (tests/testdata/wire), and what is known of each."""

import pathlib
import re

from Cryptodome.PublicKey import RSA

import dialect_client as c

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "testdata" / "wire"

# Which clients they are.
STYLES = {
    "a1": c.Style(c.FAMILIES["A"], counting=c.Counting.CUT_AT_ZERO_BYTE),
    "a2": c.Style(c.FAMILIES["a2"]),
    "b1": c.Style(c.FAMILIES["B"]),
    "b2": c.Style(c.FAMILIES["B"], blocks=True, encrypted_blocks=True),
    "b3": c.Style(c.FAMILIES["b3"]),
    "c1": c.Style(c.FAMILIES["C"], version=1, connections=c.Connections.ONE_PER_REQUEST),
    "c2": c.Style(c.FAMILIES["C"]),
    "c3": c.Style(c.FAMILIES["C"], counting=c.Counting.NOT_COUNTED),
    "d1": c.Style(c.FAMILIES["D"], body_size=4016, whole_original_size=False),
    "e1": c.Style(c.FAMILIES["E"], encryption=c.Encryption.ONE_STREAM),
    "e2": c.Style(c.FAMILIES["E"], body_size=1040, swapped_numbers=True),
    "e3": c.Style(c.FAMILIES["e3"], body_size=1024),
}


class Transcript:
    """One of them: its lines ("C>" and "S>" with a message, "##" for a new connection) and what its head tells."""

    def __init__(self, name):
        text = (FOLDER / f"{name}.txt").read_text()
        self.style = STYLES[name]
        self.rsa = RSA.import_key(bytes.fromhex(re.search(r"RSA private key[^:]*: ([0-9a-f]+)", text).group(1)))
        self.aes_keys = [bytes.fromhex(key) for key in re.findall(r"^# AES key[^:]*: ([0-9a-f]+)", text, re.M)]
        self.contents = {name.encode(): bytes.fromhex(content) for name, content in
                         re.findall(r"^# plaintext file (\S+) hex: ([0-9a-f]*)", text, re.M)}
        self.lines = [(line[:2], b"" if line[:2] == "##" else bytes.fromhex(line[3:]))
                      for line in text.splitlines() if line[:2] in ("C>", "S>", "##")]

    def places(self, message):
        family = self.style.family
        return family.dialect.places(family.dialect.kind_of(message), family.id_in_front)

    def head_size(self, message):
        """Of the header and the fields."""
        return max(place.end for place in self.places(message).values())
