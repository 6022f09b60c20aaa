"""Model clients of families A to E, written from the protocol's page alone, with PyCryptodome as their crypto.

A `Style` says how one client plays: its family and every quirk that real clients have. A `FamilyClient` plays it and
checks each answer as the strictest of the real clients would; whatever differs raises `ProtocolError`.
"""

import contextlib
import dataclasses
import enum
import functools
import os
import socket
import struct
import zlib

from Cryptodome.Cipher import AES, PKCS1_OAEP
from Cryptodome.PublicKey import RSA
from Cryptodome.Util.asn1 import DerBitString, DerNull, DerObjectId, DerSequence
from Cryptodome.Util.Padding import pad

NAME_SIZE = 255
KEY_FIELD_SIZE = 160
BLOCK_SIZE = 1024
LARGEST_ANSWER = 4096
TIMEOUT_S = 30
MAX_RETRIES = 4
SPARE_KEYS = 4
RSA_OID = "1.2.840.113549.1.1.1"

REQUEST = struct.Struct("<16sBHI")
ANSWER = struct.Struct("<BHI")
PACKET = struct.Struct("<IIHH")

# An answer's code is its family's base plus one of these.
REGISTERED, NOT_REGISTERED, KEY_ACCEPTED, FILE_RECEIVED, ACKNOWLEDGED, RECONNECTED, DENIED, ERROR = range(8)


class ProtocolError(AssertionError):
    """An answer that some real client would not take."""


def require(condition, message):
    if not condition:
        raise ProtocolError(message)


@dataclasses.dataclass(frozen=True)
class Family:
    """What the request code tells."""

    letter: str
    register: int
    public_key: int
    reconnect: int | None
    file: int
    valid: int
    retry: int
    abort: int
    base: int
    aes_size: int
    packets: bool = False
    id_in_front: bool = False


FAMILIES = {family.letter: family for family in (
    Family("A", 1100, 1101, None, 1103, 1104, 1105, 1106, 2100, 16, id_in_front=True),
    Family("B", 1100, 1101, 1102, 1103, 1104, 1105, 1106, 2100, 16),
    Family("C", 1025, 1026, 1027, 1028, 1029, 1030, 1031, 2100, 16),
    Family("D", 1025, 1026, 1027, 1028, 1029, 1030, 1031, 1600, 32, packets=True),
    Family("E", 825, 826, 827, 828, 900, 901, 902, 1600, 32, packets=True),
)}


class Counting(enum.Enum):
    """How the payload size of a file request counts the content (families A, B, C)."""

    COUNTED = enum.auto()
    NOT_COUNTED = enum.auto()
    CUT_AT_ZERO_BYTE = enum.auto()


class ContentSize(enum.Enum):
    """What the content size field of a file request holds (families A, B, C)."""

    OF_CIPHERTEXT = enum.auto()
    OF_PLAINTEXT = enum.auto()


class Encryption(enum.Enum):
    """How packets are encrypted (families D, E)."""

    EACH_CHUNK = enum.auto()
    ONE_STREAM = enum.auto()


class Checksum(enum.IntEnum):
    """The kinds of checksum, in the order in which the server tries them."""

    CKSUM_PLAINTEXT = 0
    CKSUM_CIPHERTEXT = 1
    CRC32_PLAINTEXT = 2
    CRC32_CIPHERTEXT = 3


class Notice(enum.Enum):
    """What a client does after its retry notice."""

    WAITS_FOR_ANSWER = enum.auto()
    SENDS_AT_ONCE = enum.auto()


class Connections(enum.Enum):
    """How long a client keeps a connection."""

    ONE_PER_RUN = enum.auto()
    ONE_PER_FILE = enum.auto()
    ONE_PER_REQUEST = enum.auto()


class KeyForm(enum.Enum):
    """How the public key is encoded."""

    SPKI = enum.auto()
    SPKI_ZERO_PADDED = enum.auto()
    PKCS1_ZERO_PADDED = enum.auto()


class KeyPayload(enum.Enum):
    """What precedes the key in its payload."""

    NAME_FIELD = enum.auto()
    SHORT_NAME = enum.auto()
    NOTHING = enum.auto()


@dataclasses.dataclass(frozen=True)
class Style:
    """One client's habits; the defaults are those of the plain client of its family."""

    family: Family
    version: int = 3
    checksum: Checksum = Checksum.CKSUM_PLAINTEXT
    connections: Connections = Connections.ONE_PER_RUN
    notice: Notice = Notice.WAITS_FOR_ANSWER
    mismatches: int = 0  # So many first answers to each file are taken for wrong.
    key_form: KeyForm = KeyForm.SPKI
    key_payload: KeyPayload = KeyPayload.NAME_FIELD
    garbage_names: bool = False
    garbage_id: bool = False
    # Families A, B, C.
    counting: Counting = Counting.COUNTED
    content_size: ContentSize = ContentSize.OF_CIPHERTEXT
    blocks: bool = False  # A and B: messages are padded to a multiple of 1024 bytes.
    encrypted_blocks: bool = False  # B: a file is messages of one block, each encrypted on its own.
    block_plaintext: int = 735  # Of a file, in each of them.
    # Families D, E.
    encryption: Encryption = Encryption.EACH_CHUNK
    body_size: int = 4096
    whole_original_size: bool = True
    equal_packets: bool = False
    swapped_numbers: bool = False
    extra_packet: bool = False

    @property
    def ends_connection(self):
        """The server ends the connection after each answer."""
        return self.blocks and self.version == 3

    def __str__(self):
        """The family and what differs from the defaults."""
        parts = [self.family.letter]
        for field in dataclasses.fields(self)[1:]:
            value = getattr(self, field.name)
            if value != field.default:
                parts.append(f"{field.name}={getattr(value, 'name', value)}")
        return " ".join(parts)


_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def cksum(data):
    """POSIX cksum: zlib's CRC-32 uses the same polynomial from the other end, so the bits are reversed for it."""
    size = len(data)
    tail = size.to_bytes((size.bit_length() + 7) // 8, "little")
    crc = zlib.crc32(data.translate(_REVERSED_BITS), 0xFFFFFFFF)
    crc = zlib.crc32(tail.translate(_REVERSED_BITS), crc)
    return int(f"{crc:032b}"[::-1], 2)


def checksums(plaintext, ciphertext):
    """Every candidate, by its kind."""
    return {Checksum.CKSUM_PLAINTEXT: cksum(plaintext), Checksum.CKSUM_CIPHERTEXT: cksum(ciphertext),
            Checksum.CRC32_PLAINTEXT: zlib.crc32(plaintext), Checksum.CRC32_CIPHERTEXT: zlib.crc32(ciphertext)}


@functools.cache
def rsa_key(_number):
    """One of a few keys that clients share, because making one takes long."""
    return RSA.generate(1024, e=17)


def key_field(key, form):
    """The public key as 160 bytes. To leave room for padding, a key goes without its algorithm's NULL parameters."""
    public = DerSequence([key.n, key.e]).encode()
    if form is KeyForm.PKCS1_ZERO_PADDED:
        return public.ljust(KEY_FIELD_SIZE, b"\0")
    parameters = [] if form is KeyForm.SPKI_ZERO_PADDED else [DerNull()]
    algorithm = DerSequence([DerObjectId(RSA_OID), *parameters])
    return DerSequence([algorithm, DerBitString(public)]).encode().ljust(KEY_FIELD_SIZE, b"\0")


def cut_at_zero_byte(value):
    """What remains of an integer that its sender took for a C string."""
    return int.from_bytes(struct.pack("<I", value).split(b"\0")[0], "little")


def padded_to_block(message):
    return message + bytes(-len(message) % BLOCK_SIZE)


def open_answer(data, padded=False):
    """The code and the payload of the one answer that `data` must be, whole and with nothing behind it."""
    require(len(data) >= ANSWER.size, f"{len(data)} bytes are no answer")
    version, code, size = ANSWER.unpack_from(data)
    end = ANSWER.size + size
    require(version == 3, f"an answer of version {version}")
    require(len(data) >= end, f"answer {code}: {len(data)} bytes came in one piece, not {end}")
    padding = -end % BLOCK_SIZE if padded else 0
    require(data[end:] == bytes(padding), f"answer {code}: {len(data) - end} bytes of padding, not {padding} zeros")
    return code, data[ANSWER.size:end]


class Connection:
    """Messages over one socket. An answer is taken by a single `recv`, as some real clients do."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        self._socket.sendall(data)

    def receive(self):
        data = self._socket.recv(LARGEST_ANSWER)
        require(data, "the server ended the connection without an answer")
        return data

    def require_end(self):
        """The server has nothing more to say and closes."""
        require(self._socket.recv(LARGEST_ANSWER) == b"", "an answer too many")

    def require_silence(self):
        """Nobody asked for what would be there now."""
        self._socket.settimeout(0)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            require(self._socket.recv(LARGEST_ANSWER) == b"", "an answer too many")

    def close(self):
        self._socket.close()


@dataclasses.dataclass(frozen=True)
class Transfer:
    """How one file went: whether the client confirmed it, and for each try the kinds that the answer's checksum is."""

    verified: bool
    answered: list


class FamilyClient:
    """One client's identity and its side of the conversations."""

    def __init__(self, port, name, style, key_number=0, connect=None):
        self.name, self.style, self.family = name, style, style.family
        self.id = bytes(16)
        self.registration_id = os.urandom(16) if style.garbage_id else bytes(16)
        self.aes_key = None
        self.rsa = rsa_key(key_number % SPARE_KEYS)
        self.fields = {}
        self._connect = connect or (lambda: Connection(port))
        self._connection = None
        self._depth = 0
        self._kind_is_known = False

    # Connections.

    @contextlib.contextmanager
    def together(self):
        """Requests within share a connection, as far as the server lets them."""
        self._depth += 1
        try:
            yield
            if self._depth == 1 and self._connection:
                self._connection.require_silence()
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._hang_up()

    def _together_if(self, *connections):
        return self.together() if self.style.connections in connections else contextlib.nullcontext()

    def _hang_up(self):
        if self._connection:
            self._connection.close()
            self._connection = None

    def _exchange(self, data):
        """Sends whole messages and takes the one answer."""
        with self.together():
            if self._connection is None:
                self._connection = self._connect()
            self._connection.send(data)
            answer = open_answer(self._connection.receive(), padded=self.style.blocks)
            if self.style.ends_connection:
                self._connection.require_end()
                self._hang_up()
            return answer

    # Messages.

    def _message(self, code, payload, payload_size=None, client_id=None):
        size = len(payload) if payload_size is None else payload_size
        message = REQUEST.pack(client_id or self.id, self.style.version, code, size) + payload
        return padded_to_block(message) if self.style.blocks else message

    def name_field(self, name):
        """255 bytes; the same for the same name, as the buffer of a real client would be."""
        if name not in self.fields:
            rest = NAME_SIZE - len(name)
            garbage = b"\0" + os.urandom(rest - 1) if self.style.garbage_names and rest else bytes(rest)
            self.fields[name] = name + garbage
        return self.fields[name]

    def _front(self):
        return self.id if self.family.id_in_front else b""

    def _expect(self, answer, kind, size):
        code, payload = answer
        expected = self.family.base + kind
        require(code == expected, f"answer {code}, not {expected}")
        require(len(payload) == size, f"answer {code} has {len(payload)} bytes, not {size}")
        return payload

    # Identity.

    def _take_id(self, client_id):
        require(min(client_id) >= 0x10, f"id {client_id.hex()} has a byte below 0x10")
        require(client_id[6] >> 4 == 4 and client_id[8] >> 6 == 2, f"id {client_id.hex()} is not a random UUID")
        self.id = client_id

    def _take_key(self, payload):
        require(payload[:16] == self.id, "the key is for another client")
        key = PKCS1_OAEP.new(self.rsa).decrypt(payload[16:])
        require(len(key) == self.family.aes_size, f"a session key of {len(key)} bytes")
        require(0 not in key, "a session key with a zero byte")
        self.aes_key = key

    def _registration(self):
        return self._exchange(self._message(
            self.family.register, self.name_field(self.name), client_id=self.registration_id))

    def register(self):
        self._take_id(self._expect(self._registration(), REGISTERED, 16))

    def find_name_taken(self):
        """Registers under a name that belongs to somebody."""
        self._expect(self._registration(), NOT_REGISTERED, 0)

    def exchange_key(self):
        name = {KeyPayload.NAME_FIELD: self.name_field(self.name), KeyPayload.SHORT_NAME: self.name + b"\0",
                KeyPayload.NOTHING: b""}[self.style.key_payload]
        message = self._message(self.family.public_key, name + key_field(self.rsa, self.style.key_form))
        self._take_key(self._expect(self._exchange(message), KEY_ACCEPTED, 144))

    def sign_up(self):
        with self._together_if(Connections.ONE_PER_FILE):
            self.register()
            self.exchange_key()

    def reconnect(self):
        """Family A has no request for it and sends its key again."""
        if self.family.reconnect is None:
            self.exchange_key()
            return
        message = self._message(self.family.reconnect, self.name_field(self.name))
        self._take_key(self._expect(self._exchange(message), RECONNECTED, 144))

    def find_itself_denied(self):
        """Reconnects with an id that the server does not know; takes the fresh one."""
        self.id = os.urandom(16)
        message = self._message(self.family.reconnect, self.name_field(self.name))
        self._take_id(self._expect(self._exchange(message), DENIED, 16))

    # Files.

    def encrypt(self, content):
        return AES.new(self.aes_key, AES.MODE_CBC, bytes(16)).encrypt(pad(content, 16))

    def _file_message(self, name, content):
        """The request, the content size in it and the ciphertext."""
        ciphertext = self.encrypt(content)
        size = len(content) if self.style.content_size is ContentSize.OF_PLAINTEXT else len(ciphertext)
        head = self._front() + struct.pack("<I", size) + self.name_field(name)
        counted = len(head) + len(ciphertext)
        payload_size = {Counting.COUNTED: counted, Counting.NOT_COUNTED: len(head),
                        Counting.CUT_AT_ZERO_BYTE: cut_at_zero_byte(counted)}[self.style.counting]
        return self._message(self.family.file, head + ciphertext, payload_size), size, ciphertext

    def _block_messages(self, name, content):
        """One request for each block, the content size in all of them and the ciphertext."""
        step = self.style.block_plaintext
        bodies = [self.encrypt(content[at:at + step]) for at in range(0, max(len(content), 1), step)]
        ciphertext = b"".join(bodies)
        size = len(content) if self.style.content_size is ContentSize.OF_PLAINTEXT else len(ciphertext)
        head = struct.pack("<I", size) + self.name_field(name)
        return b"".join(self._message(self.family.file, head + body) for body in bodies), size, ciphertext

    def _chunks(self, content):
        """Packets encrypted on their own: (content size, original size, body) of each."""
        step = self.style.body_size - 16
        for at in range(0, max(len(content), 1), step):
            chunk = content[at:at + step]
            body = self.encrypt(chunk)
            yield len(body), len(content) if self.style.whole_original_size else len(chunk), body

    def _slices(self, content):
        """Packets cut out of one stream: (content size, original size, body) of each."""
        ciphertext = self.encrypt(content)
        for at in range(0, len(ciphertext), self.style.body_size):
            yield len(ciphertext), len(content), ciphertext[at:at + self.style.body_size]

    def _packet(self, name, index, total, content_size, original_size, body):
        fields = (total, index) if self.style.swapped_numbers else (index, total)
        if self.style.equal_packets:
            body = body.ljust(self.style.body_size, b"\0")
        head = PACKET.pack(content_size, original_size, *fields) + self.name_field(name)
        return self._message(self.family.file, head + body)

    def _packet_messages(self, name, content):
        """All packets in a row, the content size in the first and the ciphertext."""
        cut = self._slices if self.style.encryption is Encryption.ONE_STREAM else self._chunks
        packets = list(cut(content))
        total = len(packets)
        ciphertext = b"".join(body for _, _, body in packets)
        if self.style.extra_packet:
            packets.append(packets[-1])
        messages = [self._packet(name, index, total, *packet) for index, packet in enumerate(packets, 1)]
        return b"".join(messages), packets[0][0], ciphertext

    def send_file(self, name, content, ahead=b""):
        """Sends a file, behind the message `ahead` in the same write; the kinds that the answer's checksum is."""
        build = self._file_message
        if self.family.packets:
            build = self._packet_messages
        elif self.style.encrypted_blocks:
            build = self._block_messages
        data, size, ciphertext = build(name, content)
        answer = self._expect(self._exchange(ahead + data), FILE_RECEIVED, 279)
        require(answer[:16] == self.id, "the file's answer is for another client")
        require(answer[16:20] == struct.pack("<I", size), f"the content size {size} is echoed as {answer[16:20].hex()}")
        require(answer[20:275] == self.name_field(name), "the file name is not echoed byte for byte")
        (value,) = struct.unpack("<I", answer[275:])
        kinds = {kind for kind, right in checksums(content, ciphertext).items() if right == value}
        require(kinds, f"{value:#x} is no checksum of any kind")
        return kinds

    # Verdicts.

    def _verdict_message(self, code, name):
        return self._message(code, self._front() + self.name_field(name))

    def _verdict(self, code, name):
        """Family A takes no id in the answer to a retry notice; all others do, and it does otherwise."""
        size = 0 if self.family.id_in_front and code == self.family.retry else 16
        answer = self._exchange(self._verdict_message(code, name))
        require(self._expect(answer, ACKNOWLEDGED, size) in (b"", self.id), "acknowledged to another client")

    def confirm(self, name):
        self._verdict(self.family.valid, name)

    def abandon(self, name):
        self._verdict(self.family.abort, name)

    def announce_retry(self, name):
        """Gives the retry notice; what is to be sent ahead of the file, if the client does not wait."""
        if self.style.notice is Notice.SENDS_AT_ONCE:
            return self._verdict_message(self.family.retry, name)
        self._verdict(self.family.retry, name)
        return b""

    # Conversations.

    def back_up(self, name, content):
        """Sends a file until its checksum is right, at most 4 times more."""
        with self._together_if(Connections.ONE_PER_FILE):
            transfer = self._try_until_right(name, content)
            if transfer.verified:
                self.confirm(name)
            else:
                self.abandon(name)
        require(not self._kind_is_known or self.style.checksum in transfer.answered[0],
                "the server forgot the kind of checksum that this client had confirmed")
        self._kind_is_known = transfer.verified
        return transfer

    def _try_until_right(self, name, content):
        answered = [self.send_file(name, content)]
        while len(answered) <= self.style.mismatches or self.style.checksum not in answered[-1]:
            if len(answered) > MAX_RETRIES:
                return Transfer(False, answered)
            answered.append(self.send_file(name, content, ahead=self.announce_retry(name)))
        return Transfer(True, answered)

    def _back_up_all(self, files):
        return {name: self.back_up(name, content) for name, content in files.items()}

    def first_run(self, files):
        """A client without an identity; how each of the `files` (contents by name) went."""
        with self._together_if(Connections.ONE_PER_RUN):
            self.sign_up()
            return self._back_up_all(files)

    def second_run(self, files):
        """A client that kept its identity."""
        with self._together_if(Connections.ONE_PER_RUN):
            self.reconnect()
            return self._back_up_all(files)

    def run_after_denial(self, files, registers):
        """A client the server has lost: it registers again on the same connection, or uses the fresh id at once."""
        with self.together():
            self.find_itself_denied()
            if registers:
                self.register()
            self.exchange_key()
        with self._together_if(Connections.ONE_PER_RUN):
            return self._back_up_all(files)
