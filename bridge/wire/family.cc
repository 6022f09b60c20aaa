// Requests, little-endian, after the header of 23 bytes
// (client id 16, version u8, code u16, payload size u32):
//
//   register    name 255
//   public key  name 255, key 160; if the payload is shorter, the key is its last 160 bytes
//   reconnect   name 255
//   file        bridge/wire/whole_file.cc, bridge/wire/packet.cc
//   checksum is right     file name 255, or client id 16, file name 255
//   checksum is wrong, the file follows again     the same
//   checksum is wrong for the last time           the same
//
// Answers: version u8 (3), code u16, payload size u32, payload:
//
//   +0  registered        client id 16
//   +1  not registered    -
//   +2  key accepted      client id 16, encrypted session key 128
//   +3  file received     client id 16, content size u32, file name 255, checksum u32
//   +4  acknowledged      client id 16, or -
//   +5  reconnected       as +2
//   +6  reconnect denied  fresh client id 16
//   +7  general error     -
#include "bridge/wire/family.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "bridge/wire/byte_reader.h"
#include "bridge/wire/byte_writer.h"
#include "bridge/wire/fields.h"
#include "bridge/wire/packet.h"
#include "bridge/wire/whole_file.h"
#include "glog/logging.h"

namespace backup::wire {
namespace {

enum AnswerOffset : uint16_t {
  kRegistered = 0,
  kRegistrationFailed = 1,
  kKeyAccepted = 2,
  kFileReceived = 3,
  kAcknowledged = 4,
  kReconnected = 5,
  kReconnectDenied = 6,
  kGeneralError = 7,
};

constexpr size_t kPublicKeySize = 160;
constexpr size_t kPublicKeyPayloadSize = kNameFieldSize + kPublicKeySize;
constexpr uint8_t kOldestVersion = 1;

using MaybeHead = absl::StatusOr<std::optional<DecodedHead>>;

// Requests whose payload is one name.
template <typename Operation>
MaybeHead DecodeName(const RequestHeader& header, absl::string_view payload) {
  if (header.payload_size != kNameFieldSize)
    return WrongSize(header, "it must be one name of 255 bytes");
  if (payload.size() < kNameFieldSize) return std::nullopt;
  return MakeHead(header, Operation{CutAtNul(payload.substr(0, kNameFieldSize))}, kNameFieldSize);
}

MaybeHead DecodeVerdict(ChecksumVerdict::Kind kind, const RequestHeader& header,
                        absl::string_view payload) {
  const bool id_in_front = header.payload_size == ClientId::kSize + kNameFieldSize;
  if (header.payload_size != kNameFieldSize && !id_in_front)
    return WrongSize(header, "it must be one name of 255 bytes");
  if (payload.size() < header.payload_size) return std::nullopt;
  if (id_in_front && !absl::StartsWith(payload, header.client_id.bytes()))
    return WrongSize(header, "what is before the name is not the client's id");
  const absl::string_view field = payload.substr(header.payload_size - kNameFieldSize);
  return MakeHead(header,
                  ChecksumVerdict{kind, CutAtNul(field.substr(0, kNameFieldSize)), id_in_front},
                  header.payload_size);
}

MaybeHead DecodePublicKey(const RequestHeader& header, absl::string_view payload,
                          int session_key_bits) {
  if (header.payload_size > kPublicKeyPayloadSize)
    return WrongSize(header, "it must be a name and a key, 415 bytes");
  if (header.payload_size < kPublicKeySize)
    return WrongSize(header, "it must end with a key of 160 bytes");
  if (payload.size() < header.payload_size) return std::nullopt;
  const size_t name_size = header.payload_size - kPublicKeySize;
  SendPublicKey key{CutAtNul(payload.substr(0, name_size)),
                    std::string(payload.substr(name_size, kPublicKeySize)), session_key_bits};
  return MakeHead(header, std::move(key), header.payload_size);
}

struct ReplyEncoder {
  const uint16_t first_code;

  std::string Encode(AnswerOffset offset, absl::string_view payload) const {
    return ByteWriter()
        .U8(kReplyVersion)
        .U16(static_cast<uint16_t>(first_code + offset))
        .U32(static_cast<uint32_t>(payload.size()))
        .Bytes(payload)
        .Take();
  }
  std::string EncodeKey(AnswerOffset offset, const ClientId& id,
                        absl::string_view encrypted_session_key) const {
    return Encode(offset, ByteWriter().Bytes(id.bytes()).Bytes(encrypted_session_key).Take());
  }

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
    return Encode(kAcknowledged, reply.id ? reply.id->bytes() : absl::string_view());
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

bool Family::Claims(const RequestHeader& header) const {
  if (header.version == kOldestVersion && !traits_.claims_version_1) return false;
  for (const uint16_t code :
       {traits_.register_code, traits_.public_key_code, traits_.reconnect_code, traits_.file_code,
        traits_.valid_code, traits_.retry_code, traits_.abort_code}) {
    if (header.code == code) return true;
  }
  return false;
}

MaybeHead Family::DecodeHead(absl::string_view bytes) const {
  const std::optional<RequestHeader> header = DecodeHeader(bytes);
  if (!header) return std::nullopt;
  MaybeHead head = DecodeRequest(*header, bytes.substr(kRequestHeaderSize));
  if (head.ok() && head->has_value())
    (*head)->request.family = FamilyOf((*head)->request.operation);
  return head;
}

MaybeHead Family::DecodeRequest(const RequestHeader& header, absl::string_view payload) const {
  using Kind = ChecksumVerdict::Kind;
  const uint16_t code = header.code;
  if (code == traits_.register_code) return DecodeName<Register>(header, payload);
  if (code == traits_.public_key_code)
    return DecodePublicKey(header, payload, traits_.session_key_bits);
  if (code == traits_.reconnect_code) return DecodeName<Reconnect>(header, payload);
  if (code == traits_.file_code) return DecodeFile(header, payload);
  if (code == traits_.valid_code) return DecodeVerdict(Kind::kValid, header, payload);
  if (code == traits_.retry_code) return DecodeVerdict(Kind::kRetry, header, payload);
  if (code == traits_.abort_code) return DecodeVerdict(Kind::kAbort, header, payload);
  return absl::InvalidArgumentError(absl::StrCat("unknown request code ", code));
}

MaybeHead Family::DecodeFile(const RequestHeader& header, absl::string_view payload) const {
  if (traits_.file_layout == FileLayout::kPackets) return DecodePacket(header, payload);
  ASSIGN_OR_RETURN(std::optional<DecodedHead> head,
                   DecodeWholeFile(header, payload, traits_.may_send_blocks));
  if (!head) return head;
  auto& file = std::get<SendFile>(head->request.operation);
  if (header.version == kOldestVersion && traits_.version_1_compares_crc32) {
    file.first_checksum = Checksum::kCrc32OfCiphertext;
  } else if (file.id_in_front && SaysPlaintextSize(file, head->body_size)) {
    file.first_checksum = Checksum::kCrc32OfPlaintext;
  }
  return head;
}

absl::string_view Family::FamilyOf(const Operation& operation) const {
  if (!traits_.is_a_and_b) return name();
  if (const auto* file = std::get_if<SendFile>(&operation)) return file->id_in_front ? "A" : "B";
  if (const auto* verdict = std::get_if<ChecksumVerdict>(&operation))
    return verdict->id_in_front ? "A" : "B";
  return std::holds_alternative<Reconnect>(operation) ? "B" : name();
}

std::string Family::EncodeReply(const Reply& reply) const {
  return std::visit(ReplyEncoder{traits_.first_answer_code}, reply);
}

}  // namespace backup::wire
