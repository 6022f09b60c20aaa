"""HTTP/2 frame by frame (RFC 9113, RFC 7541), written small: a test may so also say what no library would."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
# Settings: RFC 9113, section 6.5.2; the last is gRPC's own, "binary metadata may come as it is".
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
GRPC_TRUE_BINARY_METADATA = 0xFE03
DEFAULT_WINDOW = 65535
DEFAULT_FRAME_SIZE = 16384
LARGEST_WINDOW = (1 << 31) - 1
CANCEL = 8
TIMEOUT_S = 30

# Names of RFC 7541's static table, and the values that are not empty.
STATIC_NAMES = (
    ":authority :method :method :path :path :scheme :scheme :status :status :status :status :status :status :status accept-charset "
    "accept-encoding accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control "
    "content-disposition content-encoding content-language content-length content-location content-range content-type cookie date "
    "etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link "
    "location max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie "
    "strict-transport-security transfer-encoding user-agent vary via www-authenticate").split()
STATIC_VALUES = {2: "GET", 3: "POST", 4: "/", 5: "/index.html", 6: "http", 7: "https", 8: "200", 9: "204", 10: "206", 11: "304",
                 12: "400", 13: "404", 14: "500", 16: "gzip, deflate"}


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window_update(stream, size):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))


def reset(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def integer(value, prefix_bits, first=0):
    """An integer of HPACK behind the bits of `first`."""
    largest = (1 << prefix_bits) - 1
    if value < largest:
        return bytes([first | value])
    encoded, value = bytearray([first | largest]), value - largest
    while value >= 128:
        encoded.append(value % 128 | 128)
        value //= 128
    encoded.append(value)
    return bytes(encoded)


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return integer(len(value), 7) + value


def literal(name, value, is_indexed=False):
    """A field as a literal; indexed, the peer keeps it in its dynamic table, at 62, where indexed(62) refers to it."""
    return (b"\x40" if is_indexed else b"\0") + text(name) + text(value)


def indexed(index):
    return integer(index, 7, 0x80)


def request_headers(path, *more, authority="localhost"):
    """The block of a gRPC call."""
    return b"".join(literal(name, value) for name, value in (
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority), ("te", "trailers"),
        ("content-type", "application/grpc"), *more))


def _integer_at(block, at, prefix_bits):
    largest = (1 << prefix_bits) - 1
    value, at = block[at] & largest, at + 1
    if value < largest:
        return value, at
    shift = 0
    while True:
        byte, at = block[at], at + 1
        value += (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return value, at


def _text_at(block, at):
    assert not block[at] & 128, "a string in Huffman's code, which gRPC does not send"
    size, at = _integer_at(block, at, 7)
    return block[at:at + size], at + size


def read_headers(block):
    """Name: value (bytes) of a block of a peer that was told to keep no table."""
    fields, at = {}, 0
    while at < len(block):
        first = block[at]
        if first & 0x80:
            index, at = _integer_at(block, at, 7)
            fields[STATIC_NAMES[index - 1]] = STATIC_VALUES.get(index, "").encode()
            continue
        if first & 0xE0 == 0x20:  # The size of the table.
            _, at = _integer_at(block, at, 5)
            continue
        index, at = _integer_at(block, at, 6 if first & 0x40 else 4)
        name = STATIC_NAMES[index - 1] if index else None
        if not index:
            raw, at = _text_at(block, at)
            name = raw.decode()
        fields[name], at = _text_at(block, at)
    return fields


class Http2Connection:
    """A socket that speaks frames; it answers settings and pings, and nothing else by itself."""

    def __init__(self, port, *pairs, host="127.0.0.1", timeout=TIMEOUT_S):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.socket.sendall(PREFACE + settings(*pairs))

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def _fill(self, size):
        while len(self.buffer) < size:
            piece = self.socket.recv(1 << 18)
            if not piece:
                raise ConnectionError("the server ended the connection")
            self.buffer += piece

    def next_frame(self):
        """(kind, flags, stream, payload) of whatever comes; TimeoutError, ConnectionError."""
        self._fill(9)
        size = int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
        self._fill(9 + size)
        payload = bytes(self.buffer[9:9 + size])
        del self.buffer[:9 + size]
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        return kind, flags, stream & 0x7FFFFFFF, payload

    def close(self):
        self.socket.close()
