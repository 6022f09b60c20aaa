// Requests, little-endian, after the header of 23 bytes
// (client id 16, version u8, code u16, payload size u32):
//
//   code  request     payload
//   1025  register    name 255
//   1026  public key  name 255, key 160; if the payload is shorter, the key is its last 160 bytes
//   1027  reconnect   name 255
//   1028  file        content size u32, file name 255, content
//   1029  checksum is right     file name 255
//   1030  checksum is wrong, the file follows again     file name 255
//   1031  checksum is wrong for the last time           file name 255
//
// Answers: version u8 (3), code u16, payload size u32, payload:
//
//   2100  registered        client id 16
//   2101  not registered    -
//   2102  key accepted      client id 16, encrypted session key 128
//   2103  file received     client id 16, content size u32, file name 255, checksum u32
//   2104  acknowledged      client id 16
//   2105  reconnected       as 2102
//   2106  reconnect denied  fresh client id 16
//   2107  general error     -
#include "bridge/wire/family_c.h"

#include "absl/strings/str_cat.h"
#include "bridge/wire/byte_reader.h"
#include "bridge/wire/byte_writer.h"
#include "glog/logging.h"

namespace backup::wire {
namespace {

enum Code : uint16_t {
  kRegister = 1025,
  kPublicKey = 1026,
  kReconnect = 1027,
  kFile = 1028,
  kChecksumValid = 1029,
  kChecksumRetry = 1030,
  kChecksumAbort = 1031,

  kRegistered = 2100,
  kRegistrationFailed = 2101,
  kKeyAccepted = 2102,
  kFileReceived = 2103,
  kAcknowledged = 2104,
  kReconnected = 2105,
  kReconnectDenied = 2106,
  kGeneralError = 2107,
};

constexpr size_t kPublicKeySize = 160;
constexpr size_t kPublicKeyPayloadSize = kNameFieldSize + kPublicKeySize;
constexpr size_t kFileFieldsSize = 4 + kNameFieldSize;
// The only client that says so is that of the old server, which sent the CRC-32 of the ciphertext.
constexpr uint8_t kCiphertextCrcVersion = 1;
constexpr uint32_t kCipherBlockSize = 16;

using MaybeHead = absl::StatusOr<std::optional<DecodedHead>>;

// The bytes before the first NUL; all of them if there is none.
std::string CutAtNul(absl::string_view field) {
  return std::string(field.substr(0, field.find('\0')));
}

absl::Status WrongSize(const RequestHeader& header, absl::string_view rule) {
  return absl::InvalidArgumentError(absl::StrCat("request ", header.code, " with a payload of ",
                                                 header.payload_size, " bytes: ", rule));
}

DecodedHead MakeHead(const RequestHeader& header, Operation operation, size_t payload_size,
                     uint64_t body_size = 0) {
  return {{header.client_id, header.version, header.code, std::move(operation)},
          kRequestHeaderSize + payload_size,
          body_size};
}

// Requests whose payload is one name: `Make` turns the name into the operation.
template <typename Make>
MaybeHead DecodeName(const RequestHeader& header, absl::string_view payload, const Make& make) {
  if (header.payload_size != kNameFieldSize)
    return WrongSize(header, "it must be one name of 255 bytes");
  if (payload.size() < kNameFieldSize) return std::nullopt;
  return MakeHead(header, make(CutAtNul(payload.substr(0, kNameFieldSize))), kNameFieldSize);
}

MaybeHead DecodePublicKey(const RequestHeader& header, absl::string_view payload) {
  if (header.payload_size > kPublicKeyPayloadSize)
    return WrongSize(header, "it must be a name and a key, 415 bytes");
  if (header.payload_size <= kPublicKeySize)
    return WrongSize(header, "it must end with a key of 160 bytes");
  if (payload.size() < header.payload_size) return std::nullopt;
  const size_t name_size = header.payload_size - kPublicKeySize;
  SendPublicKey key{CutAtNul(payload.substr(0, name_size)),
                    std::string(payload.substr(name_size, kPublicKeySize))};
  return MakeHead(header, std::move(key), header.payload_size);
}

// How many bytes of content follow the fields: docs/wire-protocol.md, "How long is a file
// request?".
absl::StatusOr<uint64_t> ContentSize(const RequestHeader& header, uint32_t content_size) {
  // Equal: the sender did not count the content. Less: its integers were cut at their first zero
  // byte.
  if (header.payload_size <= kFileFieldsSize) {
    if (content_size == 0) return WrongSize(header, "no content, and a content size of 0");
    return uint64_t{content_size};
  }
  const uint64_t size = header.payload_size - kFileFieldsSize;
  // Some clients say the plaintext's size.
  const uint64_t padded = (uint64_t{content_size} / kCipherBlockSize + 1) * kCipherBlockSize;
  if (content_size != size && padded != size) {
    return WrongSize(header,
                     absl::StrCat("it has ", size, " bytes of content, but says ", content_size));
  }
  return size;
}

MaybeHead DecodeFile(const RequestHeader& header, absl::string_view payload) {
  if (payload.size() < kFileFieldsSize) return std::nullopt;
  ByteReader reader(payload);
  SendFile file;
  file.content_size = reader.U32();
  file.name_field = std::string(reader.Bytes(kNameFieldSize));
  file.name = CutAtNul(file.name_field);
  file.checksum = header.version == kCiphertextCrcVersion ? Checksum::kCrc32OfCiphertext
                                                          : Checksum::kCksumOfPlaintext;
  const absl::StatusOr<uint64_t> body_size = ContentSize(header, file.content_size);
  if (!body_size.ok()) return body_size.status();
  return MakeHead(header, std::move(file), kFileFieldsSize, *body_size);
}

std::string Encode(Code code, absl::string_view payload) {
  return ByteWriter()
      .U8(kReplyVersion)
      .U16(code)
      .U32(static_cast<uint32_t>(payload.size()))
      .Bytes(payload)
      .Take();
}

std::string EncodeKey(Code code, const ClientId& id, absl::string_view encrypted_session_key) {
  return Encode(code, ByteWriter().Bytes(id.bytes()).Bytes(encrypted_session_key).Take());
}

struct ReplyEncoder {
  std::string operator()(const Registered& reply) const {
    return Encode(kRegistered, reply.id.bytes());
  }
  std::string operator()(const RegistrationFailed&) const {
    return Encode(kRegistrationFailed, "");
  }
  std::string operator()(const KeyAccepted& reply) const {
    return EncodeKey(kKeyAccepted, reply.id, reply.encrypted_session_key);
  }
  std::string operator()(const FileReceived& reply) const {
    CHECK_EQ(reply.name_field.size(), kNameFieldSize);
    return Encode(kFileReceived, ByteWriter()
                                     .Bytes(reply.id.bytes())
                                     .U32(reply.content_size)
                                     .Bytes(reply.name_field)
                                     .U32(reply.checksum)
                                     .Take());
  }
  std::string operator()(const Acknowledged& reply) const {
    return Encode(kAcknowledged, reply.id.bytes());
  }
  std::string operator()(const Reconnected& reply) const {
    return EncodeKey(kReconnected, reply.id, reply.encrypted_session_key);
  }
  std::string operator()(const ReconnectDenied& reply) const {
    return Encode(kReconnectDenied, reply.fresh_id.bytes());
  }
  std::string operator()(const GeneralError&) const { return Encode(kGeneralError, ""); }
};

}  // namespace

bool FamilyC::Claims(const RequestHeader& header) const {
  return header.code >= kRegister && header.code <= kChecksumAbort;
}

MaybeHead FamilyC::DecodeHead(absl::string_view bytes) const {
  const std::optional<RequestHeader> header = DecodeHeader(bytes);
  if (!header) return std::nullopt;
  const absl::string_view payload = bytes.substr(kRequestHeaderSize);
  const auto verdict = [&](ChecksumVerdict::Kind kind) {
    return DecodeName(*header, payload, [&](std::string name) {
      return ChecksumVerdict{kind, std::move(name)};
    });
  };
  switch (header->code) {
    case kRegister:
      return DecodeName(*header, payload,
                        [](std::string name) { return Register{std::move(name)}; });
    case kPublicKey:
      return DecodePublicKey(*header, payload);
    case kReconnect:
      return DecodeName(*header, payload,
                        [](std::string name) { return Reconnect{std::move(name)}; });
    case kFile:
      return DecodeFile(*header, payload);
    case kChecksumValid:
      return verdict(ChecksumVerdict::Kind::kValid);
    case kChecksumRetry:
      return verdict(ChecksumVerdict::Kind::kRetry);
    case kChecksumAbort:
      return verdict(ChecksumVerdict::Kind::kAbort);
    default:
      return absl::InvalidArgumentError(absl::StrCat("unknown request code ", header->code));
  }
}

std::string FamilyC::EncodeReply(const Reply& reply) const {
  return std::visit(ReplyEncoder(), reply);
}

}  // namespace backup::wire
