"""Dialects as the tests read them: from the same files as the programs (bridge/dialects, proto/backup/bridge/v1/dialect.proto),
but by code of its own, written from the schema's comments alone."""

import base64
import dataclasses
import functools
import os
import pathlib
import subprocess
import tempfile
import types

from google.protobuf import descriptor_pb2, message_factory, text_format
from google.protobuf.descriptor import FieldDescriptor

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = "backup/bridge/v1/dialect.proto"
BUILT_IN = ROOT / "bridge" / "dialects"

NAMES = ("CLIENT_NAME", "FILE_NAME")
DATA = ("CLIENT_ID", "PUBLIC_KEY", "SESSION_KEY")
UNTOLD = "REQUEST_KIND_UNSPECIFIED"
# Messages whose absence says something.
OPTIONAL = ("packets", "blocks")


class ProtocolError(AssertionError):
    """An answer that some real client would not take."""


def require(condition, message):
    if not condition:
        raise ProtocolError(message)


@functools.cache
def _message_class():
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc", f"--proto_path={ROOT / 'proto'}", f"--descriptor_set_out={out.name}", SCHEMA], check=True)
        described = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out.name).read_bytes())
    return message_factory.GetMessages(described.file)["backup.bridge.v1.Dialect"]


def _plain(message):
    """The message as an object with the same attributes, enum values by name."""
    def convert(field, value):
        if field.type == FieldDescriptor.TYPE_ENUM:
            return field.enum_type.values_by_number[value].name
        return _plain(value) if field.type == FieldDescriptor.TYPE_MESSAGE else value

    def converted(field):
        value = getattr(message, field.name)
        if field.label == FieldDescriptor.LABEL_REPEATED:
            return [convert(field, each) for each in value]
        return None if field.name in OPTIONAL and not message.HasField(field.name) else convert(field, value)

    return types.SimpleNamespace(**{field.name: converted(field) for field in message.DESCRIPTOR.fields})


def to_text(data, encoding):
    """Bytes as a field or a content of that encoding has them."""
    if encoding == "PEM":
        text = base64.b64encode(data)
        lines = (text[at:at + 64] for at in range(0, len(text), 64))
        return b"\n".join((b"-----BEGIN PUBLIC KEY-----", *lines, b"-----END PUBLIC KEY-----", b""))
    return {"BINARY": bytes, "HEX": lambda data: data.hex().encode(), "BASE64": base64.b64encode}[encoding](data)


def content_text(data, content):
    """The bytes of a content on the wire."""
    text = to_text(data, content.text)
    width = content.text_line_width
    if not width:
        return text
    line_break = b"\n" if content.text_line_break == "LINE_FEED" else b"\r\n"
    lines = line_break.join(text[at:at + width] for at in range(0, len(text), width))
    return lines if content.text_ends_without_line_break else lines + line_break


def from_text(text, encoding):
    """What `text`, which NULs and blanks may follow, stands for."""
    if encoding == "BINARY":
        return text
    stripped = text.rstrip(b"\0 ")
    try:
        return bytes.fromhex(stripped.decode()) if encoding == "HEX" else base64.b64decode(stripped, validate=True)
    except ValueError as error:
        raise ProtocolError(f"{text!r} is no {encoding}") from error


def fields_size(fields):
    return sum(field.width for field in fields)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a field of a request is."""

    field: types.SimpleNamespace
    begin: int
    end: int

    def of(self, message):
        return message[self.begin:self.end]


class Dialect:
    """One description. Attributes are those of the schema's message, as plain objects."""

    def __init__(self, text):
        vars(self).update(vars(_plain(text_format.Parse(text, _message_class()()))))
        self.request_of = {request.kind: request for request in self.requests}

    def __str__(self):
        return self.name

    @property
    def content(self):
        return self.request_of["FILE"].content

    # Integers and fields.

    def order(self, field):
        order = field.byte_order if field.byte_order != "BYTE_ORDER_UNSPECIFIED" else self.byte_order
        return "big" if order == "BIG" else "little"

    def integer(self, field, value):
        return value.to_bytes(field.width, self.order(field))

    def read_integer(self, field, data):
        return int.from_bytes(data, self.order(field))

    def _field(self, field, value, garbage):
        """One field; names come as whole fields."""
        if field.kind == "FILL":
            return os.urandom(field.width) if garbage else bytes([field.fill]) * field.width
        if field.kind == "CONSTANT":
            return self.integer(field, field.value)
        if field.kind in NAMES:
            return value
        if field.kind in DATA:
            return to_text(value, field.text).ljust(field.width, bytes([field.fill]))
        return self.integer(field, value)

    def payload_fields(self, kind, id_in_payload):
        """The fields in front of a content; without the id, where it may be missing and is."""
        return [field for field in self.request_of[kind].fields
                if id_in_payload or not (field.kind == "CLIENT_ID" and field.may_be_missing)]

    def has_id_in_payload(self, kind, id_in_payload):
        return any(field.kind == "CLIENT_ID" for field in self.payload_fields(kind, id_in_payload))

    def encode(self, fields, values, garbage=False):
        """The fields in their order; `values` by kind. With garbage where bytes mean nothing."""
        data = [self._field(field, values.get(field.kind), garbage) for field in fields]
        for field, each in zip(fields, data):
            assert field.may_be_shorter or field.width in (0, len(each)), f"{field.kind} of {len(each)} bytes"
        return b"".join(data)

    def places(self, kind, id_in_payload):
        """Where the fields of a request are, with those of the header: by (whether of the header, kind of field)."""
        found, begin = {}, 0
        payload = self.payload_fields(kind, id_in_payload)
        for in_header, fields in ((True, self.request_header), (False, payload)):
            for field in fields:
                found[in_header, field.kind] = Place(field, begin, begin + field.width)
                begin += field.width
        return found

    def kind_of(self, message):
        """What a request asks; None if its code is not of this dialect."""
        place = self.places("REGISTER", False)[True, "CODE"]
        code = self.read_integer(place.field, place.of(message))
        return next((request.kind for request in self.requests if code in request.codes), None)

    @property
    def request_header_size(self):
        return fields_size(self.request_header)

    # Messages.

    def is_padded(self, padded_by_client):
        """Whether requests are filled up, and whether answers are."""
        requests, answers = self.padding.requests, self.padding.answers
        padded = self.padding.multiple_of > 0 and (requests == "ALWAYS" or requests == "BY_CLIENT" and padded_by_client)
        return padded, self.padding.multiple_of > 0 and (answers == "ALWAYS" or answers == "BY_CLIENT" and padded)

    def filled_up(self, data):
        return data + bytes(-len(data) % self.padding.multiple_of)

    def answer_to(self, kind, request, id_in_payload):
        """The answer of that kind to a request."""
        return next(answer for answer in self.answers
                    if answer.kind == kind and answer.to in (UNTOLD, request)
                    and (not answer.to_id_in_payload or self.has_id_in_payload(request, id_in_payload)))

    def _read(self, what, field, data):
        """The value of a field of an answer."""
        if field.kind == "FILL":
            require(data == bytes([field.fill]) * len(data), f"{what}: fill bytes {data.hex()}")
            return data
        if field.kind in ("CONSTANT", "VERSION"):
            value = self.read_integer(field, data)
            require(value == field.value, f"{what}: {field.kind} {value}")
            return value
        if field.kind in NAMES:
            return data
        return from_text(data, field.text) if field.kind in DATA else self.read_integer(field, data)

    def _read_fields(self, what, fields, data):
        values, at = {}, 0
        for field in fields:
            width = field.width or len(data) - at
            values[field.kind] = self._read(what, field, data[at:at + width])
            at += width
        require(at == len(data), f"{what}: {len(data)} bytes, not {at}")
        return values

    def open_answer(self, data, expected, padded):
        """The fields of the one answer that `data` must be, whole and with nothing behind it but padding."""
        header_size = fields_size(self.answer_header)
        require(len(data) >= header_size, f"{len(data)} bytes are no answer")
        header = self._read_fields("header", self.answer_header, data[:header_size])
        require(header["CODE"] == expected.code, f"answer {header['CODE']}, not {expected.code}")
        what = f"answer {expected.code}"
        end = header_size + header["PAYLOAD_SIZE"] + expected.uncounted_bytes
        require(len(data) >= end, f"{what}: {len(data)} bytes came in one piece, not {end}")
        padding = -end % self.padding.multiple_of if padded else 0
        require(data[end:] == bytes(padding), f"{what}: {len(data) - end} bytes of padding, not {padding} zeros")
        return self._read_fields(what, expected.fields, data[header_size:end])

    def split_answer(self, data):
        """The description of an answer, by its code alone, and its fields' bytes by kind, whatever they are."""
        places = self._cut(self.answer_header, data)
        code = next(self.read_integer(field, places["CODE"]) for field in self.answer_header if field.kind == "CODE")
        answer = next(answer for answer in self.answers if answer.code == code and answer.to == UNTOLD)
        return answer, self._cut(answer.fields, data[fields_size(self.answer_header):])

    def join_answer(self, answer, parts):
        """The answer made of its fields' bytes."""
        payload = b"".join(parts[field.kind] for field in answer.fields)
        version = next((field.value for field in self.answer_header if field.kind == "VERSION"), 0)
        return self.encode(self.answer_header, {
            "VERSION": version, "CODE": answer.code, "PAYLOAD_SIZE": len(payload) - answer.uncounted_bytes}) + payload

    @staticmethod
    def _cut(fields, data):
        parts, at = {}, 0
        for field in fields:
            parts[field.kind] = data[at:at + field.width]
            at += field.width
        return parts

    # What is derived.

    def first_checksum(self, version, id_in_payload, size_of_plaintext):
        """What its clients compare, if nothing else is known of them."""
        id_in_payload = self.has_id_in_payload("FILE", id_in_payload)
        return next((rule.checksum for rule in self.checksums
                     if (not rule.versions or version in rule.versions) and (id_in_payload or not rule.id_in_payload)
                     and (size_of_plaintext or not rule.content_size_of_plaintext)), "CKSUM_OF_PLAINTEXT")

    def ends_connection(self, version, padded):
        ends = {"STAYS_OPEN": False, "ENDS": True, "ENDS_IF_PADDED": padded}[self.conversation.end_after_answer]
        return ends and (not self.conversation.end_versions or version in self.conversation.end_versions)

    def label(self, request, id_in_payload):
        """What a client that sent this is called on its record."""
        id_in_payload = self.has_id_in_payload(request, id_in_payload)
        return next((label.name for label in self.labels
                     if (not label.requests or request in label.requests) and (id_in_payload or not label.id_in_payload)),
                    self.name)


@functools.cache
def load(path):
    return Dialect(pathlib.Path(path).read_text())


@functools.cache
def built_in():
    """All of bridge/dialects, by name."""
    return {dialect.name: dialect for dialect in map(load, sorted(BUILT_IN.glob("*.textproto")))}
