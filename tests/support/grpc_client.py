"""The API called over HTTP/2 as the tests write it, from the .proto files alone: a peer that shares no code with the programs."""

import functools
import pathlib
import struct
import subprocess
import tempfile
import types

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import http2

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
OK, NOT_FOUND, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, UNAVAILABLE = 0, 5, 8, 9, 14
WINDOW = 1 << 24
PAGE_SIZE = 1000


class CallError(Exception):
    """A call that ended with another status than OK."""

    def __init__(self, method, code, message):
        super().__init__(f"{method}: {code} {message}")
        self.code, self.message = code, message


def _message_class(pool, descriptor):
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


@functools.cache
def api():
    """By method name: path, classes of request and response; and `messages`, the classes of backup.v1 by name."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "set"
        files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
        subprocess.run(["protoc", f"-I{PROTO}", "--include_imports", f"--descriptor_set_out={out}", *files], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    methods, messages = {}, {}
    for file in (pool.FindFileByName(file.name) for file in files):
        messages.update((name, _message_class(pool, message)) for name, message in file.message_types_by_name.items())
        for service in file.services_by_name.values():
            for method in service.methods:
                methods[method.name] = types.SimpleNamespace(
                    path=f"/{service.full_name}/{method.name}", request=_message_class(pool, method.input_type),
                    response=_message_class(pool, method.output_type))
    return types.SimpleNamespace(methods=methods, messages=types.SimpleNamespace(**messages))


def framed(message):
    """A message as gRPC sends it, without compression."""
    data = message.SerializeToString()
    return struct.pack(">BI", 0, len(data)) + data


class GrpcClient:
    """One connection, one call after the other."""

    def __init__(self, port, timeout=http2.TIMEOUT_S):
        self.connection = http2.Http2Connection(
            port, (http2.HEADER_TABLE_SIZE, 0), (http2.ENABLE_PUSH, 0), (http2.INITIAL_WINDOW_SIZE, WINDOW),
            (http2.GRPC_TRUE_BINARY_METADATA, 1), timeout=timeout)
        self.connection.send(http2.window_update(0, WINDOW))
        self.next_stream = 1
        self.windows = {0: http2.DEFAULT_WINDOW}
        self.peer_window, self.peer_frame = http2.DEFAULT_WINDOW, http2.DEFAULT_FRAME_SIZE

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.connection.close()

    def _take(self, stream, answer):
        """One frame; `answer` collects what is of `stream`."""
        kind, flags, of, payload = self.connection.next_frame()
        if kind == http2.WINDOW_UPDATE:
            self.windows[of] = self.windows.get(of, 0) + struct.unpack(">I", payload)[0]
        elif kind == http2.SETTINGS and not flags & http2.ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack_from(">HI", payload, at)
                if name == http2.INITIAL_WINDOW_SIZE:
                    self.windows[stream] += value - self.peer_window
                    self.peer_window = value
                elif name == http2.MAX_FRAME_SIZE:
                    self.peer_frame = value
        elif kind == http2.GOAWAY and struct.unpack(">I", payload[:4])[0] < stream:
            raise ConnectionError("the server goes away")
        elif of == stream and kind == http2.DATA:
            answer.data += payload
            if payload:
                self.connection.send(http2.window_update(0, len(payload)), http2.window_update(stream, len(payload)))
        elif of == stream and kind == http2.HEADERS:
            assert flags & http2.END_HEADERS
            answer.headers.update(http2.read_headers(payload))
        elif of == stream and kind == http2.RST_STREAM:
            answer.has_ended = True
        if of == stream and kind in (http2.DATA, http2.HEADERS) and flags & http2.END_STREAM:
            answer.has_ended = True

    def _send_message(self, stream, message, answer):
        data = framed(message)
        while data and not answer.has_ended:
            room = min(self.windows[0], self.windows[stream], self.peer_frame, len(data))
            if room <= 0:
                self._take(stream, answer)
                continue
            self.connection.send(http2.frame(http2.DATA, 0, stream, data[:room]))
            self.windows[0] -= room
            self.windows[stream] -= room
            data = data[room:]

    def stream(self, method, requests):
        """All responses; raises CallError, OSError."""
        of = api().methods[method]
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        self.windows[stream] = self.peer_window
        answer = types.SimpleNamespace(headers={}, data=bytearray(), has_ended=False)
        self.connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, http2.request_headers(of.path)))
        for request in requests:
            self._send_message(stream, request, answer)
        if not answer.has_ended:
            self.connection.send(http2.frame(http2.DATA, http2.END_STREAM, stream))
        while not answer.has_ended:
            self._take(stream, answer)
        del self.windows[stream]
        code = int(answer.headers.get("grpc-status", b"2"))
        if code != OK:
            raise CallError(method, code, answer.headers.get("grpc-message", b"").decode())
        responses, at = [], 0
        while at < len(answer.data):
            _, size = struct.unpack_from(">BI", answer.data, at)
            responses.append(of.response.FromString(bytes(answer.data[at + 5:at + 5 + size])))
            at += 5 + size
        return responses

    def call(self, method, **fields):
        """The response of a unary call."""
        return self.stream(method, [api().methods[method].request(**fields)])[0]

    def upload(self, content, piece=1 << 20, **header):
        """UploadFile of a plaintext, as it is."""
        header.setdefault("encoding", api().messages.UploadFileHeader.IDENTITY)
        request = api().methods["UploadFile"].request
        first = request(header=api().messages.UploadFileHeader(encoded_size=len(content), **header))
        chunks = (request(chunk=content[at:at + piece]) for at in range(0, len(content), piece))
        return self.stream("UploadFile", [first, *chunks])[0]

    def download(self, **fields):
        """The bytes of a version."""
        responses = self.stream("DownloadFile", [api().methods["DownloadFile"].request(**fields)])
        return b"".join(response.chunk for response in responses)

    def pages(self, method, items, **fields):
        """All objects that a listing tells, in the field `items` of its responses."""
        token, found = "", []
        while True:
            page = self.call(method, page_size=PAGE_SIZE, page_token=token, **fields)
            found += getattr(page, items)
            token = page.next_page_token
            if not token:
                return found
