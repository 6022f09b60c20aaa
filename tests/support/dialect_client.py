"""Model clients of every dialect that is described in a file, with PyCryptodome as their crypto.

A `Style` says how one client plays: its dialect and every quirk that the description leaves open. A `DialectClient` plays
it and checks each answer as the strictest of the real clients would; whatever differs raises `ProtocolError`.
"""

import contextlib
import dataclasses
import enum
import functools
import os
import random
import socket
import zlib

from Cryptodome.Cipher import AES, PKCS1_OAEP, PKCS1_v1_5
from Cryptodome.PublicKey import RSA
from Cryptodome.Util.asn1 import DerBitString, DerNull, DerObjectId, DerSequence
from Cryptodome.Util.Padding import pad

from dialect_codec import Dialect, ProtocolError, built_in, content_text, require

BLOCK = AES.block_size
LARGEST_ANSWER = 4096
TIMEOUT_S = 30
MAX_RETRIES = 4
SPARE_KEYS = 4
RSA_OID = "1.2.840.113549.1.1.1"
NO_ID = bytes(16)


@dataclasses.dataclass(frozen=True)
class Family:
    """Clients of one dialect, as far as its description does not tell them apart."""

    name: str
    dialect: Dialect = dataclasses.field(repr=False)
    # What may be missing is there: its id in the payloads of files and verdicts.
    id_in_front: bool = False
    reconnects: bool = True

    @property
    def packets(self):
        return self.dialect.content.packets

    @property
    def aes_size(self):
        return self.dialect.cryptography.session_key_bits // 8

    @property
    def reconnect_request(self):
        """What it asks when it comes back."""
        return "RECONNECT" if self.reconnects and "RECONNECT" in self.dialect.request_of else "PUBLIC_KEY"


def _families():
    dialects = dict(built_in())
    both = dialects.pop("A/B")
    families = [Family("A", both, id_in_front=True, reconnects=False), Family("B", both)]
    families += [Family(name, dialect) for name, dialect in dialects.items()]
    return {family.name: family for family in families}


# Of the built-in dialects; A and B are one.
FAMILIES = _families()


class Counting(enum.Enum):
    """How the payload size of a file request counts the content, where the content size tells it, too."""

    COUNTED = enum.auto()
    NOT_COUNTED = enum.auto()
    CUT_AT_ZERO_BYTE = enum.auto()


class ContentSize(enum.Enum):
    """What the content size field of a file request holds, where it may be either."""

    OF_CIPHERTEXT = enum.auto()
    OF_PLAINTEXT = enum.auto()


class Encryption(enum.Enum):
    """How packets are encrypted, where they may be in either way."""

    EACH_CHUNK = enum.auto()
    ONE_STREAM = enum.auto()


class Checksum(enum.IntEnum):
    """The kinds of checksum, in the order in which the server tries them."""

    CKSUM_OF_PLAINTEXT = 0
    CKSUM_OF_CIPHERTEXT = 1
    CRC32_OF_PLAINTEXT = 2
    CRC32_OF_CIPHERTEXT = 3


class Notice(enum.Enum):
    """What a client does after its retry notice."""

    WAITS_FOR_ANSWER = enum.auto()
    SENDS_AT_ONCE = enum.auto()
    # It gives it on a connection of its own, closes that and opens another for the file.
    HANGS_UP = enum.auto()


class Connections(enum.Enum):
    """How long a client keeps a connection."""

    ONE_PER_RUN = enum.auto()
    ONE_PER_FILE = enum.auto()
    ONE_PER_REQUEST = enum.auto()


class KeyForm(enum.Enum):
    """How the public key is encoded; zero bytes fill the field up."""

    SPKI = enum.auto()
    SPKI_ZERO_PADDED = enum.auto()
    PKCS1_ZERO_PADDED = enum.auto()


class KeyPayload(enum.Enum):
    """What precedes the key in its payload, where the name may be shorter."""

    NAME_FIELD = enum.auto()
    SHORT_NAME = enum.auto()
    NOTHING = enum.auto()


class ZeroIds(enum.Enum):
    """In which requests a client's id is all zeros, where the server looks it up."""

    NEVER = enum.auto()
    IN_KEY_REQUESTS = enum.auto()
    ALWAYS = enum.auto()


@dataclasses.dataclass(frozen=True)
class Style:
    """One client's habits; the defaults are those of the plain client of its dialect."""

    family: Family
    version: int | None = None
    checksum: Checksum | None = None
    connections: Connections = Connections.ONE_PER_RUN
    notice: Notice = Notice.WAITS_FOR_ANSWER
    mismatches: int = 0  # So many first answers to each file are taken for wrong.
    key_form: KeyForm | None = None
    key_payload: KeyPayload = KeyPayload.NAME_FIELD
    garbage: bool = False  # Behind names, and in bytes that mean nothing.
    garbage_id: bool = False
    last_codes: bool = False  # Where a request has several codes: not the first.
    zero_ids: ZeroIds = ZeroIds.NEVER
    blocks: bool = False  # Messages are padded, where the client chooses.
    counting: Counting = Counting.COUNTED
    content_size: ContentSize = ContentSize.OF_CIPHERTEXT
    # Files in blocks that are each encrypted on their own.
    encrypted_blocks: bool = False
    full_blocks: bool = False  # Plaintexts of a block end one byte before a cipher block's end, not with one.
    # Files in packets.
    encryption: Encryption = Encryption.EACH_CHUNK
    body_size: int = 4096
    whole_original_size: bool = True
    equal_packets: bool = False
    swapped_numbers: bool = False
    extra_packet: bool = False

    def __post_init__(self):
        """What the description settles."""
        dialect, own = self.family.dialect, functools.partial(object.__setattr__, self)
        if self.version is None:
            own("version", (dialect.recognition.versions or [3])[0])
        if self.checksum is None:
            size_of_plaintext = {"PLAINTEXT": True, "CIPHERTEXT_OR_PLAINTEXT": self.content_size is ContentSize.OF_PLAINTEXT}
            own("checksum", Checksum[dialect.first_checksum(
                self.version, self.family.id_in_front, size_of_plaintext.get(dialect.content.content_size_counts, False))])
        if self.key_form is None:
            pkcs1 = dialect.cryptography.public_key_form == "PKCS1"
            own("key_form", KeyForm.PKCS1_ZERO_PADDED if pkcs1 else KeyForm.SPKI)

    @property
    def padded(self):
        """Whether its requests are filled up, and whether the answers are."""
        return self.family.dialect.is_padded(self.blocks)

    @property
    def ends_connection(self):
        """The server ends the connection after each answer."""
        return self.family.dialect.ends_connection(self.version, self.padded[0])

    def __str__(self):
        """The family and what differs from the defaults."""
        parts = [self.family.name]
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
    return {Checksum.CKSUM_OF_PLAINTEXT: cksum(plaintext), Checksum.CKSUM_OF_CIPHERTEXT: cksum(ciphertext),
            Checksum.CRC32_OF_PLAINTEXT: zlib.crc32(plaintext), Checksum.CRC32_OF_CIPHERTEXT: zlib.crc32(ciphertext)}


@functools.cache
def rsa_key(_number):
    """One of a few keys that clients share, because making one takes long."""
    return RSA.generate(1024, e=17)


def public_key(key, form):
    """The key in DER. To leave room for padding, one goes without its algorithm's NULL parameters."""
    public = DerSequence([key.n, key.e]).encode()
    if form is KeyForm.PKCS1_ZERO_PADDED:
        return public
    parameters = [] if form is KeyForm.SPKI_ZERO_PADDED else [DerNull()]
    algorithm = DerSequence([DerObjectId(RSA_OID), *parameters])
    return DerSequence([algorithm, DerBitString(public)]).encode()


def opened_key(key, encrypted, encryption):
    """The session key."""
    if encryption == "RSAES_PKCS1_V15":
        return PKCS1_v1_5.new(key).decrypt(encrypted, b"")
    return PKCS1_OAEP.new(key).decrypt(encrypted)


def cut_at_zero_byte(data):
    """What remains of an integer that its sender took for a C string."""
    return data.split(b"\0")[0].ljust(len(data), b"\0")


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


@dataclasses.dataclass(frozen=True)
class FileRequest:
    """What a file is on the wire, and what its answer is compared with: the (first) request's fields and the ciphertext."""

    messages: list
    values: dict
    ciphertext: bytes

    @property
    def data(self):
        return b"".join(self.messages)


class DialectClient:
    """One client's identity and its side of the conversations."""

    def __init__(self, port, name, style, key_number=0, connect=None):
        self.name, self.style, self.family, self.dialect = name, style, style.family, style.family.dialect
        self.id = NO_ID
        self.registration_id = os.urandom(16) if style.garbage_id else NO_ID
        self.aes_key = None
        self.rsa = rsa_key(key_number % SPARE_KEYS)
        self._fields = {}
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

    def _exchange(self, data, request, *expected):
        """Sends whole messages and takes the one answer to the last, of a kind that is expected."""
        answer = self.dialect.answer_to(*expected, request, self.family.id_in_front)
        with self.together():
            if self._connection is None:
                self._connection = self._connect()
            self._connection.send(data)
            values = self.dialect.open_answer(self._connection.receive(), answer, padded=self.style.padded[1])
            if self.style.ends_connection:
                self._connection.require_end()
                self._hang_up()
            return values

    # Messages.

    def _field_of_name(self, request, kind, name):
        """The field of that kind for a name; None if the request has none."""
        field = next((field for field in self.dialect.request_of[request].fields if field.kind == kind), None)
        return field and self.name_field(request, field, name)

    def name_field(self, _request, field, name):
        """The same for the same name, as the buffer of a real client would be."""
        key = name, field.width, field.name_end
        if key not in self._fields:
            end = {"AT_NUL": b"\0", "AT_LAST_VISIBLE": b"", "AT_LINE_FEED": b"\n"}[field.name_end]
            rest = max(field.width - len(name) - len(end), 0)
            garbage = bytes(random.choices(b" \0\r\n", k=rest)) if not end else os.urandom(rest)
            fill = garbage if self.style.garbage else bytes([field.fill]) * rest
            self._fields[key] = (name + end + fill)[:field.width or len(name)]
        return self._fields[key]

    def _sent_id(self, request):
        if request == "REGISTER":
            return self.registration_id
        zero_ids = self.style.zero_ids
        is_zero = zero_ids is ZeroIds.ALWAYS or (
            zero_ids is ZeroIds.IN_KEY_REQUESTS and request in ("PUBLIC_KEY", "RECONNECT"))
        return NO_ID if is_zero else self.id

    def _payload(self, request, values):
        return self.dialect.encode(self.dialect.payload_fields(request, self.family.id_in_front),
                                   {"CLIENT_ID": self._sent_id(request)} | values, self.style.garbage)

    def _message(self, request, values, content=b"", counting=Counting.COUNTED):
        """A whole request; the content is in it, but perhaps its payload size does not say so."""
        described, client_id = self.dialect.request_of[request], self._sent_id(request)
        payload = self._payload(request, values)
        counted = len(payload) if counting is Counting.NOT_COUNTED else len(payload) + len(content)
        header = {"CLIENT_ID": client_id, "VERSION": self.style.version,
                  "CODE": described.codes[-1 if self.style.last_codes else 0],
                  "PAYLOAD_SIZE": counted - described.uncounted_bytes}
        data = self.dialect.encode(self.dialect.request_header, header, self.style.garbage)
        if counting is Counting.CUT_AT_ZERO_BYTE:
            place = self.dialect.places(request, self.family.id_in_front)[True, "PAYLOAD_SIZE"]
            data = data[:place.begin] + cut_at_zero_byte(place.of(data)) + data[place.end:]
        return self._part(data + payload + content)

    def _part(self, data):
        """What goes into one message, or into one part of a file."""
        return self.dialect.filled_up(data) if self.style.padded[0] else data

    # Identity.

    def check_id(self, client_id):
        require(min(client_id) >= 0x10, f"id {client_id.hex()} has a byte below 0x10")
        require(client_id[6] >> 4 == 4 and client_id[8] >> 6 == 2, f"id {client_id.hex()} is not a random UUID")

    def check_key(self, key):
        require(len(key) == self.family.aes_size, f"a session key of {len(key)} bytes")
        require(0 not in key, "a session key with a zero byte")

    def _take_id(self, client_id):
        self.check_id(client_id)
        self.id = client_id

    def _require_own(self, answer):
        require(answer.get("CLIENT_ID", self.id) == self.id, "an answer for another client")
        return answer

    def _take_key(self, answer):
        key = opened_key(self.rsa, self._require_own(answer)["SESSION_KEY"], self.dialect.cryptography.key_encryption)
        self.check_key(key)
        self.aes_key = key

    def _register(self, expected):
        name = self._field_of_name("REGISTER", "CLIENT_NAME", self.name)
        return self._exchange(self._message("REGISTER", {"CLIENT_NAME": name}), "REGISTER", expected)

    def register(self):
        self._take_id(self._register("REGISTERED")["CLIENT_ID"])

    def find_name_taken(self):
        """Registers under a name that belongs to somebody."""
        self._register("REGISTRATION_FAILED")

    def exchange_key(self):
        name = {KeyPayload.NAME_FIELD: self._field_of_name("PUBLIC_KEY", "CLIENT_NAME", self.name),
                KeyPayload.SHORT_NAME: self.name + b"\0", KeyPayload.NOTHING: b""}[self.style.key_payload]
        key = public_key(self.rsa, self.style.key_form)
        message = self._message("PUBLIC_KEY", {"CLIENT_NAME": name, "PUBLIC_KEY": key})
        self._take_key(self._exchange(message, "PUBLIC_KEY", "KEY_ACCEPTED"))

    def sign_up(self):
        with self._together_if(Connections.ONE_PER_FILE):
            self.register()
            self.exchange_key()

    def _reconnect(self, expected):
        name = self._field_of_name("RECONNECT", "CLIENT_NAME", self.name)
        return self._exchange(self._message("RECONNECT", {"CLIENT_NAME": name}), "RECONNECT", expected)

    def reconnect(self):
        """Some have no request for it and send their key again."""
        if self.family.reconnect_request == "PUBLIC_KEY":
            self.exchange_key()
        else:
            self._take_key(self._reconnect("RECONNECTED"))

    def find_itself_denied(self):
        """Reconnects with an id that the server does not know; takes the fresh one."""
        self.id = os.urandom(16)
        self._take_id(self._reconnect("RECONNECT_DENIED")["CLIENT_ID"])

    # Encryption.

    def initial_vector(self):
        return os.urandom(BLOCK) if self._vector_size else bytes(BLOCK)

    @property
    def _vector_size(self):
        return BLOCK if self.dialect.cryptography.initial_vector == "IN_FRONT" else 0

    @property
    def _with_zeros(self):
        return self.dialect.cryptography.padding == "ZEROS"

    def _encrypt_piece(self, plaintext):
        """What is encrypted on its own, with its initial vector."""
        vector = self.initial_vector()
        if self.dialect.cryptography.padding == "PKCS7_AND_SURPLUS" and len(plaintext) % BLOCK:
            plaintext += b"\5"  # As recorded from b3.
        padded = plaintext + bytes(-len(plaintext) % BLOCK) if self._with_zeros else pad(plaintext, BLOCK)
        return vector[:self._vector_size] + AES.new(self.aes_key, AES.MODE_CBC, vector).encrypt(padded)

    def _room(self, ciphertext_size):
        """The plaintext that fits into so much, without a part of a cipher block if it need not be."""
        return ciphertext_size - self._vector_size - (0 if self._with_zeros else BLOCK)

    def encrypt(self, plaintext):
        size = self.dialect.content.encrypted_piece_size
        return b"".join(map(self._encrypt_piece, pieces(plaintext, self._room(size) if size else len(plaintext))))

    def as_sent(self, content):
        """The file as the client makes it before all else, which is what its checksum is of."""
        multiple = self.dialect.cryptography.plaintext_multiple_of
        return content + bytes(-len(content) % multiple) if multiple else content

    def as_stored(self, content):
        """What a restore must bring."""
        sent = self.as_sent(content)
        told = any(field.kind == "ORIGINAL_SIZE" for field in self.dialect.request_of["FILE"].fields)
        return sent + bytes(-len(sent) % BLOCK) if self._with_zeros and not told else sent

    # Files.

    def _said_size(self, plaintext, ciphertext):
        """The content size for a content, or for a part of it that has its own."""
        counts = self.dialect.content.content_size_counts
        if counts == "CIPHERTEXT_OR_PLAINTEXT":
            counts = "PLAINTEXT" if self.style.content_size is ContentSize.OF_PLAINTEXT else "CIPHERTEXT"
        size = {"CIPHERTEXT": len(ciphertext), "PLAINTEXT": len(plaintext), "WIRE": len(content_text(ciphertext, self.dialect.content)),
                "NOTHING": 4711}[counts]
        return size * (self.dialect.content.content_size_factor or 1) + self.dialect.content.content_size_excess

    def _file_values(self, name, content_size, original_size, numbers=(1, 1)):
        return {"CONTENT_SIZE": content_size, "ORIGINAL_SIZE": original_size, "PACKET_NUMBER": numbers[0],
                "PACKET_TOTAL": numbers[1], "FILE_NAME": self._field_of_name("FILE", "FILE_NAME", name)}

    def _whole_file(self, name, plaintext):
        ciphertext = self.encrypt(plaintext)
        values = self._file_values(name, self._said_size(plaintext, ciphertext), len(plaintext))
        message = self._message("FILE", values, content_text(ciphertext, self.dialect.content), self.style.counting)
        return FileRequest([message], values, ciphertext)

    def _file_in_blocks(self, name, plaintext):
        """The first block with a header and the fields, as large as fits into a padded message; the others bare."""
        described = self.dialect.content.blocks
        fields = self.dialect.payload_fields("FILE", self.family.id_in_front)
        head_size = self.dialect.request_header_size + sum(field.width for field in fields)
        room = (self.dialect.padding.multiple_of - head_size) // BLOCK * BLOCK if self.style.padded[0] else described.size
        more = BLOCK - 1 if self.style.full_blocks and not self._with_zeros else 0
        first, rest = plaintext[:self._room(room) + more], plaintext[self._room(room) + more:]
        blocks = [self._encrypt_piece(first)]
        blocks += map(self._encrypt_piece, pieces(rest, self._room(described.size) + more) if rest else ())
        size = sum(map(len, blocks)) + self.dialect.content.content_size_excess
        values = self._file_values(name, size, len(plaintext))
        messages = [self._message("FILE", values, blocks[0]), *blocks[1:]]
        if described.last_is_filled and rest:
            messages[-1] = messages[-1].ljust(described.size, b"\0")
        return FileRequest(messages, values, b"".join(blocks))

    def _chunks(self, plaintext):
        """Packets encrypted on their own: (content size, original size, body) of each."""
        for chunk in pieces(plaintext, self._room(self.style.body_size)):
            body = self._encrypt_piece(chunk)
            yield self._said_size(chunk, body), len(plaintext) if self.style.whole_original_size else len(chunk), body

    def _slices(self, plaintext):
        """Packets cut out of one stream: (content size, original size, body) of each."""
        ciphertext = self.encrypt(plaintext)
        for body in pieces(ciphertext, self.style.body_size):
            yield self._said_size(plaintext, ciphertext), len(plaintext), body

    def _packet_body(self, body, total):
        packets = self.family.packets
        bare_are_filled = packets.header_on_first_only and not packets.last_is_shorter
        may_be_filled = self.style.equal_packets and not packets.last_is_shorter
        if may_be_filled or bare_are_filled and total > 1:
            body = body.ljust(self.style.body_size, b"\0")
        return content_text(body, self.dialect.content)

    def _packet_values(self, name, number, total, packet):
        content_size, original_size, _ = packet
        number -= self.family.packets.counted_from_zero
        numbers = (total, number) if self.style.swapped_numbers else (number, total)
        return self._file_values(name, content_size, original_size, numbers)

    def _packet(self, values, body, is_first):
        if is_first or not self.family.packets.header_on_first_only:
            return self._message("FILE", values, body)
        return self._part(self._payload("FILE", values) + body)

    def _file_in_packets(self, name, plaintext):
        in_one_stream = {"BY_SIZE": self.style.encryption is Encryption.ONE_STREAM, "EACH_PACKET": False, "ONE_STREAM": True}
        cut = self._slices if in_one_stream[self.family.packets.encryption] else self._chunks
        packets = list(cut(plaintext))
        total = len(packets)
        ciphertext = b"".join(body for _, _, body in packets)
        if self.style.extra_packet:
            packets.append(packets[-1])
        values = [self._packet_values(name, number, total, packet) for number, packet in enumerate(packets, 1)]
        messages = [self._packet(of_packet, self._packet_body(packet[-1], total), of_packet is values[0])
                    for of_packet, packet in zip(values, packets)]
        return FileRequest(messages, values[0], ciphertext)

    def file_request(self, name, content):
        build = self._file_in_packets if self.family.packets else self._whole_file
        if self.style.encrypted_blocks:
            build = self._file_in_blocks
        return build(name, self.as_sent(content))

    def send_file(self, name, content, ahead=b""):
        """Sends a file, behind the message `ahead` in the same write; the kinds that the answer's checksum is."""
        file = self.file_request(name, content)
        answer = self._require_own(self._exchange(ahead + file.data, "FILE", "FILE_RECEIVED"))
        said = file.values["CONTENT_SIZE"]
        size = answer.get("CONTENT_SIZE", said)
        require(size == said, f"the content size {said} is echoed as {size}")
        sent = file.values["FILE_NAME"]
        echoed = answer.get("FILE_NAME", sent)
        common = min(len(sent), len(echoed))
        require(echoed[:common] == sent[:common], "the file name is not echoed byte for byte")
        candidates = checksums(self.as_stored(content), file.ciphertext)
        kinds = {kind for kind, right in candidates.items() if right == answer["CHECKSUM"]}
        require(kinds, f"{answer['CHECKSUM']:#x} is no checksum of any kind")
        return kinds

    # Verdicts.

    def _verdict_message(self, request, name):
        return self._message(request, {"FILE_NAME": self._field_of_name(request, "FILE_NAME", name)})

    def _verdict(self, request, name):
        self._require_own(self._exchange(self._verdict_message(request, name), request, "ACKNOWLEDGED"))

    def confirm(self, name):
        self._verdict("VALID", name)

    def abandon(self, name):
        self._verdict("ABORT", name)

    def announce_retry(self, name):
        """Gives the retry notice; what is to be sent ahead of the file, if the client does not wait."""
        if self.style.notice is Notice.WAITS_FOR_ANSWER:
            self._verdict("RETRY", name)
            return b""
        message = self._verdict_message("RETRY", name)
        if self.style.notice is Notice.SENDS_AT_ONCE:
            return message
        connection = self._connect()
        connection.send(message)
        connection.close()
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
        # Of an empty file, two kinds may have the same checksum.
        self._kind_is_known = transfer.verified and (self._kind_is_known or len(transfer.answered[-1]) == 1)
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


def pieces(data, size):
    """At least one, which may be empty."""
    return [data[at:at + max(size, 1)] for at in range(0, max(len(data), 1), max(size, 1))]
