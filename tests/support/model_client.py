"""A client of family C, written from docs/wire-protocol.md alone, with PyCryptodome as its crypto: an independent peer."""

import socket
import struct
import zlib

from Cryptodome.Cipher import AES, PKCS1_OAEP
from Cryptodome.PublicKey import RSA
from Cryptodome.Util.Padding import pad

NAME_SIZE = 255
REGISTER, PUBLIC_KEY, RECONNECT, FILE, VALID, RETRY, ABORT = range(1025, 1032)
REGISTERED, NOT_REGISTERED, KEY_ACCEPTED, FILE_RECEIVED, ACKNOWLEDGED, RECONNECTED, DENIED, ERROR = range(2100, 2108)


def _cksum_table():
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        table.append(crc & 0xFFFFFFFF)
    return table


_TABLE = _cksum_table()


def cksum(data):
    """POSIX cksum."""
    crc = 0
    size = len(data)
    tail = bytearray()
    while size:
        tail.append(size & 0xFF)
        size >>= 8
    for part in (data, tail):
        for byte in part:
            crc = ((crc << 8) & 0xFFFFFFFF) ^ _TABLE[(crc >> 24) ^ byte]
    return crc ^ 0xFFFFFFFF


def name_field(name):
    return name.ljust(NAME_SIZE, b"\0")


class Connection:
    """Frames over one socket."""

    def __init__(self, port, timeout=30, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout=timeout)

    def send(self, client_id, version, code, payload, payload_size=None):
        size = len(payload) if payload_size is None else payload_size
        self.socket.sendall(client_id + struct.pack("<BHI", version, code, size) + payload)

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("the server ended the connection")
            data += piece
        return data

    def answer(self):
        version, code, size = struct.unpack("<BHI", self._exactly(7))
        assert version == 3, f"version {version}"
        return code, self._exactly(size)

    def call(self, *args, **kwargs):
        self.send(*args, **kwargs)
        return self.answer()

    def close(self):
        self.socket.close()


class ModelClient:
    """One client's identity and its side of the conversation."""

    KEY = None

    def __init__(self, port, name, version=3, host="127.0.0.1"):
        self.port, self.name, self.version, self.host = port, name, version, host
        self.id = bytes(16)
        if ModelClient.KEY is None:
            ModelClient.KEY = RSA.generate(1024, e=17)
        self.rsa = ModelClient.KEY
        self.aes = None

    def connect(self):
        return Connection(self.port, host=self.host)

    def request(self, code, payload, connection=None, **kwargs):
        """One request, on `connection` or on one of its own."""
        own = connection or self.connect()
        try:
            return own.call(self.id, self.version, code, payload, **kwargs)
        finally:
            if connection is None:
                own.close()

    def register(self, connection=None):
        code, payload = self.request(REGISTER, name_field(self.name), connection)
        if code == REGISTERED:
            self.id = payload
        return code

    def _take_key(self, payload):
        assert payload[:16] == self.id
        self.aes = PKCS1_OAEP.new(self.rsa).decrypt(payload[16:])
        assert len(self.aes) == 16 and 0 not in self.aes

    def exchange_key(self, connection=None):
        der = self.rsa.publickey().export_key("DER")
        assert len(der) == 160
        code, payload = self.request(PUBLIC_KEY, name_field(self.name) + der, connection)
        if code == KEY_ACCEPTED:
            self._take_key(payload)
        return code

    def reconnect(self, connection=None):
        code, payload = self.request(RECONNECT, name_field(self.name), connection)
        if code == RECONNECTED:
            self._take_key(payload)
        elif code == DENIED:
            self.id = payload
        return code

    def encrypt(self, content):
        return AES.new(self.aes, AES.MODE_CBC, bytes(16)).encrypt(pad(content, 16))

    def checksum(self, content, ciphertext):
        return zlib.crc32(ciphertext) if self.version == 1 else cksum(content)

    def send_file(self, name, content, connection=None):
        """True if the server's checksum is right."""
        ciphertext = self.encrypt(content)
        payload = struct.pack("<I", len(ciphertext)) + name_field(name) + ciphertext
        code, answer = self.request(FILE, payload, connection)
        if code != FILE_RECEIVED:
            raise ConnectionError(f"the file was refused: {code}")
        assert len(answer) == 279
        assert answer[:16] == self.id
        assert answer[16:20] == payload[:4] and answer[20:275] == payload[4:259]
        return struct.unpack("<I", answer[275:])[0] == self.checksum(content, ciphertext)

    def verdict(self, code, name, connection=None):
        answer, payload = self.request(code, name_field(name), connection)
        if answer == ACKNOWLEDGED:
            assert payload == self.id
        return answer

    def back_up(self, name, content, connection=None):
        """A whole, confirmed transfer."""
        assert self.send_file(name, content, connection), "wrong checksum"
        assert self.verdict(VALID, name, connection) == ACKNOWLEDGED

    def sign_up(self, connection=None):
        assert self.register(connection) == REGISTERED
        assert self.exchange_key(connection) == KEY_ACCEPTED
        return self
