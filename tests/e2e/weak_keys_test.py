"""Public keys that are none, that hide nothing, or that no client has: refused over every old dialect and by the API alike,
with nothing stored and no session key given; and those of real clients, in each form."""

import random
import types
import unittest

import dialect_client as f
import grpc_client
import model_client as m
from cluster import ClusterTest, Process
from Cryptodome.PublicKey import ECC, RSA
from Cryptodome.Util.asn1 import DerBitString, DerNull, DerObjectId, DerSequence
from Cryptodome.Util.number import getPrime
from dialect_codec import ProtocolError

FIELD = 160  # Bytes that old clients have for their key.
LARGEST = 162  # What the API takes.
INVALID_ARGUMENT = 3
RSA_OID, RSA_PSS_OID = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10"
DSA_OID, DH_OID, ED25519_OID = "1.2.840.10040.4.1", "1.2.840.113549.1.3.1", "1.3.101.112"
EXPONENTS_IN_USE = (3, 17, 37, 65537)


def pkcs1(modulus, exponent):
    return DerSequence([modulus, exponent]).encode()


def spki(body, oid=RSA_OID, parameters=(DerNull(),)):
    return DerSequence([DerSequence([DerObjectId(oid), *parameters]), DerBitString(body)]).encode()


def modulus(bits):
    """Of two primes."""
    while True:
        product = getPrime((bits + 1) // 2) * getPrime(bits // 2)
        if product.bit_length() == bits:
            return product


N = modulus(1024)


def rsa_keys_of_other_sizes():
    for bits in (512, 768, 1016, 1023, 1025, 2048):
        body = pkcs1(modulus(bits), 17)
        yield f"RSA-{bits}", spki(body)
        yield f"RSA-{bits}, PKCS#1", body


def rsa_keys_of_unfit_numbers():
    for exponent in (0, 1, 2, 16, 65536, 2**23 + 1, 2**32 + 1, 2**159 + 1):
        body = pkcs1(N, exponent)
        yield f"e = {exponent}", spki(body)
        yield f"e = {exponent}, PKCS#1", body
    yield "an even modulus", spki(pkcs1(N - 1, 17))
    yield "a modulus of 0", spki(pkcs1(0, 17))
    yield "a modulus that is the exponent", spki(pkcs1(17, 17))


def keys_of_other_kinds():
    body = pkcs1(N, 17)
    yield "RSA for signatures only", spki(body, RSA_PSS_OID, ())
    yield "an RSA key that says it is DSA", spki(body, DSA_OID)
    yield "an RSA key that says it is Diffie-Hellman", spki(body, DH_OID)
    yield "P-256", ECC.generate(curve="P-256").public_key().export_key(format="DER")
    yield "Ed25519", spki(bytes(range(32)), ED25519_OID, ())


def bytes_that_are_no_key():
    good, body = spki(pkcs1(N, 17)), pkcs1(N, 17)
    yield "zeros", bytes(FIELD)
    yield "ones", b"\xff" * FIELD
    yield "PEM", b"-----BEGIN PUBLIC KEY-----\nMIGdMA0GCSqGSIb3DQEBAQUAA4GLADCBhwKBgQ".ljust(FIELD, b"A")
    dice = random.Random(7)
    for number in range(20):
        yield f"random {number}", dice.randbytes(FIELD)
    for size in (1, 2, 22, 80, 158, 159):
        yield f"the first {size} bytes", good[:size]
    yield "an endless sequence", b"\x30\x80" + good[3:]
    yield "a length of 4 GiB", b"\x30\x84\xff\xff\xff\xff" + good[3:157]
    yield "behind PKCS#1", body + b"x"
    yield "behind PKCS#1 and zeros", body.ljust(FIELD - 1, b"\0") + b"x"
    yield "behind a key without parameters", spki(body, parameters=()) + b"\0x"


def unfit_keys():
    for table in (rsa_keys_of_other_sizes, rsa_keys_of_unfit_numbers, keys_of_other_kinds, bytes_that_are_no_key):
        yield from table()


def fit_keys():
    """What clients have, which all decrypt: of each form and exponent."""
    for exponent in EXPONENTS_IN_USE:
        key = RSA.generate(1024, e=exponent)
        body = pkcs1(key.n, exponent)
        yield f"e = {exponent}", key, spki(body)
        yield f"e = {exponent}, without parameters", key, spki(body, parameters=())
        yield f"e = {exponent}, PKCS#1", key, body


class WeakKeysTest(ClusterTest):
    def setUp(self):
        super().setUp()
        self.cluster = self.start()
        self.api = grpc_client.GrpcClient(self.cluster.service_port)
        self.addCleanup(self.api.close)

    def tearDown(self):
        for process in (self.cluster.bridge, self.cluster.service):
            self.assertIsNone(process.process.poll(), process.log())

    def has_key(self, name):
        return self.api.call("GetClient", name=name).client.has_public_key

    def test_over_the_wire_each_is_refused_and_nothing_of_it_is_stored(self):
        client = m.ModelClient(self.cluster.port, b"laptop")
        self.assertEqual(client.register(), m.REGISTERED)
        for kind, der in unfit_keys():
            in_field = der[:FIELD].ljust(FIELD, b"\0")
            for sent in {in_field, der}:
                with self.subTest(kind, size=len(sent)):
                    self.assertEqual(client.request(m.PUBLIC_KEY, m.name_field(b"laptop") + sent), (m.ERROR, b""))
                    self.assertFalse(self.has_key("laptop"))
        # Had one been taken, the pin would refuse this one.
        self.assertEqual(client.exchange_key(), m.KEY_ACCEPTED)
        client.back_up(b"f", b"content")

    def test_over_the_wire_a_client_keeps_the_key_that_it_has(self):
        client = m.ModelClient(self.cluster.port, b"laptop").sign_up()
        before = client.aes
        for kind, der in unfit_keys():
            with self.subTest(kind):
                payload = m.name_field(b"laptop") + der[:FIELD].ljust(FIELD, b"\0")
                self.assertEqual(client.request(m.PUBLIC_KEY, payload), (m.ERROR, b""))
        self.assertEqual(client.reconnect(), m.RECONNECTED)
        self.assertEqual(client.aes, before)
        client.back_up(b"f", b"content")

    def port_of(self, letter):
        """Of a bridge that takes 1025 for this family."""
        if letter != "D":
            return self.cluster.port
        folder = self.folder / "second"
        folder.mkdir()
        bridge = Process("backup-bridge", ["--port=0", f"--service=127.0.0.1:{self.cluster.service_port}", "--family_of_1025=D"],
                         folder)
        self.addCleanup(bridge.stop)
        return bridge.port

    def test_each_dialect_has_its_general_refusal(self):
        weak = {"RSA-768": (modulus(768), 17), "e = 1": (N, 1), "e = 16": (N, 16)}
        for letter, family in f.FAMILIES.items():
            refusal = family.dialect.answer_to("GENERAL_ERROR", "PUBLIC_KEY", family.id_in_front).code
            port = self.port_of(letter)
            for number, (kind, (n, e)) in enumerate(weak.items()):
                with self.subTest(family=letter, key=kind):
                    client = f.DialectClient(port, b"%s %d" % (letter.encode(), number), f.Style(family))
                    client.register()
                    good, client.rsa = client.rsa, types.SimpleNamespace(n=n, e=e)
                    with self.assertRaisesRegex(ProtocolError, f"^answer {refusal}, not "):
                        client.exchange_key()
                    self.assertFalse(self.has_key(client.name.decode()))
                    client.rsa = good
                    client.exchange_key()

    def refuse(self, method, **fields):
        with self.assertRaises(grpc_client.CallError) as refusal:
            self.api.call(method, **fields)
        self.assertEqual(refusal.exception.code, INVALID_ARGUMENT, refusal.exception.message)

    def test_the_api_refuses_each_and_stores_nothing(self):
        client_id = self.api.call("RegisterClient", name="laptop").client.client_id
        new_id = "12345678-9abc-4def-8123-456789abcdef"
        keys = [*unfit_keys(), ("nothing", b""), ("too much", spki(pkcs1(N, 17)).ljust(LARGEST + 1, b"\0"))]
        for kind, der in keys:
            for sent in {der, der.ljust(FIELD, b"\0")}:
                with self.subTest(kind, size=len(sent)):
                    self.refuse("ExchangeKey", client_id=client_id, name="laptop", public_key=sent)
                    self.refuse("ImportClient", client_id=new_id, name="imported", public_key=sent, session_key=b"k" * 16)
        self.assertFalse(self.has_key("laptop"))
        self.assertEqual([client.name for client in self.api.pages("ListClients", "clients")], ["laptop"])

    def test_those_of_real_clients_are_taken(self):
        for number, (kind, key, der) in enumerate(fit_keys()):
            with self.subTest(kind):
                client = m.ModelClient(self.cluster.port, b"client %d" % number)
                client.rsa = key
                self.assertEqual(client.register(), m.REGISTERED)
                if len(der) <= FIELD:
                    code, payload = client.request(m.PUBLIC_KEY, m.name_field(client.name) + der.ljust(FIELD, b"\0"))
                    self.assertEqual(code, m.KEY_ACCEPTED)
                    client._take_key(payload)
                answer = self.api.call("ExchangeKey", name=client.name.decode(), public_key=der)
                client._take_key(client.id + answer.encrypted_session_key)
                client.back_up(b"f", b"content")
                # What was kept of it is read back.
                self.assertEqual(client.reconnect(), m.RECONNECTED)


if __name__ == "__main__":
    unittest.main()
