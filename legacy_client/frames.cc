#include "legacy_client/frames.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::legacy_client {
namespace {

constexpr uint8_t kAnswerVersion = 3;
constexpr int64_t kContentSizeFieldSize = 4;
// Content size, original size, number and total.
constexpr int64_t kPacketSizesAndNumbersSize = 4 + 4 + 2 + 2;
constexpr size_t kFilePayloadSize = ClientId::kSize + 4 + kNameFieldSize + 4;

template <typename Integer>
void AppendInteger(Integer value, std::string& out) {
  for (size_t i = 0; i < sizeof(value); ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

void AppendSize(int64_t size, std::string& out) {
  CHECK(size >= 0 && size <= kMaxFieldValue) << size;
  AppendInteger(static_cast<uint32_t>(size), out);
}

template <typename Integer>
Integer IntegerAt(absl::string_view bytes, size_t offset) {
  Integer value = 0;
  for (size_t i = 0; i < sizeof(value); ++i) {
    value |= static_cast<Integer>(static_cast<Integer>(static_cast<uint8_t>(bytes[offset + i]))
                                  << (8 * i));
  }
  return value;
}

void AppendHeader(const Sender& sender, RequestKind kind, int64_t payload_size, std::string& out) {
  const uint16_t code = TraitsOf(sender.family).request_codes[static_cast<size_t>(kind)];
  CHECK_NE(code, 0);
  absl::StrAppend(&out, sender.id.bytes());
  AppendInteger<uint8_t>(sender.version, out);
  AppendInteger(code, out);
  AppendSize(payload_size, out);
}

void AppendName(absl::string_view name, std::string& out) {
  CHECK_LE(name.size(), kNameFieldSize);
  absl::StrAppend(&out, name);
  out.append(kNameFieldSize - name.size(), '\0');
}

// Of family A's requests about a file; else nothing.
absl::string_view IdInPayload(const Sender& sender) {
  return TraitsOf(sender.family).has_id_in_payload ? sender.id.bytes() : absl::string_view();
}

absl::Status WrongSize(absl::string_view what, size_t size) {
  return absl::DataLossError(absl::StrCat("the server's ", what, " answer has ", size, " bytes"));
}

}  // namespace

size_t BlockPadding(size_t message_size) {
  constexpr size_t kBlockSize = 1024;
  return (kBlockSize - message_size % kBlockSize) % kBlockSize;
}

std::string EncodeNameRequest(const Sender& sender, RequestKind kind, absl::string_view name) {
  const bool is_about_a_file = kind == RequestKind::kChecksumOk || kind == RequestKind::kRetry ||
                               kind == RequestKind::kAbort;
  const absl::string_view id = is_about_a_file ? IdInPayload(sender) : absl::string_view();
  std::string request;
  AppendHeader(sender, kind, static_cast<int64_t>(id.size() + kNameFieldSize), request);
  absl::StrAppend(&request, id);
  AppendName(name, request);
  return request;
}

std::string EncodePublicKeyRequest(const Sender& sender, absl::string_view name,
                                   absl::string_view public_key) {
  CHECK_EQ(public_key.size(), kPublicKeySize);
  std::string request;
  AppendHeader(sender, RequestKind::kPublicKey, kNameFieldSize + kPublicKeySize, request);
  AppendName(name, request);
  absl::StrAppend(&request, public_key);
  return request;
}

int64_t FileFieldsSize(Family family) {
  const FamilyTraits& traits = TraitsOf(family);
  return (traits.has_id_in_payload ? int64_t{ClientId::kSize} : 0) +
         (traits.sends_packets ? kPacketSizesAndNumbersSize : kContentSizeFieldSize) +
         int64_t{kNameFieldSize};
}

std::string EncodeFileHead(const Sender& sender, const FileHead& head,
                           absl::string_view file_name) {
  CHECK(!TraitsOf(sender.family).sends_packets);
  std::string bytes;
  AppendHeader(sender, RequestKind::kFile, head.payload_size, bytes);
  absl::StrAppend(&bytes, IdInPayload(sender));
  AppendSize(head.content_size, bytes);
  AppendName(file_name, bytes);
  return bytes;
}

std::string EncodePacketHead(const Sender& sender, const PacketHead& head,
                             absl::string_view file_name) {
  CHECK(TraitsOf(sender.family).sends_packets);
  std::string bytes;
  AppendHeader(sender, RequestKind::kFile, head.payload_size, bytes);
  AppendSize(head.content_size, bytes);
  AppendSize(head.original_size, bytes);
  AppendInteger(head.first, bytes);
  AppendInteger(head.second, bytes);
  AppendName(file_name, bytes);
  return bytes;
}

absl::StatusOr<AnswerHeader> DecodeAnswerHeader(absl::string_view header, Family family) {
  CHECK_EQ(header.size(), kAnswerHeaderSize);
  const auto version = IntegerAt<uint8_t>(header, 0);
  const auto code = IntegerAt<uint16_t>(header, 1);
  if (version != kAnswerVersion) {
    return absl::DataLossError(absl::StrCat("the server answers with version ", version));
  }
  const uint16_t base = TraitsOf(family).answer_base;
  if (code < base || code - base > static_cast<uint16_t>(AnswerKind::kGeneralError)) {
    return absl::DataLossError(absl::StrCat("the server answers with the unknown code ", code));
  }
  return AnswerHeader{static_cast<AnswerKind>(code - base), IntegerAt<uint32_t>(header, 3)};
}

absl::StatusOr<ClientId> DecodeIdPayload(absl::string_view payload) {
  const std::optional<ClientId> id = ClientId::FromBytes(payload);
  if (!id) return WrongSize("registration", payload.size());
  return *id;
}

absl::StatusOr<KeyAnswer> DecodeKeyPayload(absl::string_view payload) {
  if (payload.size() != ClientId::kSize + kEncryptedKeySize) {
    return WrongSize("session key", payload.size());
  }
  ASSIGN_OR_RETURN(const ClientId id, DecodeIdPayload(payload.substr(0, ClientId::kSize)));
  return KeyAnswer{id, std::string(payload.substr(ClientId::kSize))};
}

absl::StatusOr<FileAnswer> DecodeFilePayload(absl::string_view payload) {
  if (payload.size() != kFilePayloadSize) return WrongSize("file", payload.size());
  FileAnswer answer;
  ASSIGN_OR_RETURN(answer.id, DecodeIdPayload(payload.substr(0, ClientId::kSize)));
  answer.content_size = IntegerAt<uint32_t>(payload, ClientId::kSize);
  const absl::string_view name = payload.substr(ClientId::kSize + 4, kNameFieldSize);
  answer.file_name = std::string(name.substr(0, name.find('\0')));
  answer.checksum = IntegerAt<uint32_t>(payload, kFilePayloadSize - 4);
  return answer;
}

}  // namespace backup::legacy_client
