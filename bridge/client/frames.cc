#include "bridge/client/frames.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::legacy_client {
namespace {

constexpr uint8_t kAnswerVersion = 3;
constexpr size_t kFilePayloadSize = ClientId::kSize + 4 + kNameFieldSize + 4;

template <typename Integer>
void AppendInteger(Integer value, std::string& out) {
  for (size_t i = 0; i < sizeof(value); ++i) out.push_back(static_cast<char>(value >> (8 * i)));
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

void AppendHeader(const Sender& sender, RequestCode code, int64_t payload_size, std::string& out) {
  absl::StrAppend(&out, sender.id.bytes());
  AppendInteger<uint8_t>(sender.version, out);
  AppendInteger(static_cast<uint16_t>(code), out);
  AppendInteger(static_cast<uint32_t>(payload_size), out);
}

void AppendName(absl::string_view name, std::string& out) {
  CHECK_LE(name.size(), kNameFieldSize);
  absl::StrAppend(&out, name);
  out.append(kNameFieldSize - name.size(), '\0');
}

absl::Status WrongSize(absl::string_view what, size_t size) {
  return absl::DataLossError(absl::StrCat("the server's ", what, " answer has ", size, " bytes"));
}

}  // namespace

std::string EncodeNameRequest(const Sender& sender, RequestCode code, absl::string_view name) {
  std::string request;
  AppendHeader(sender, code, kNameFieldSize, request);
  AppendName(name, request);
  return request;
}

std::string EncodePublicKeyRequest(const Sender& sender, absl::string_view name,
                                   absl::string_view public_key) {
  CHECK_EQ(public_key.size(), kPublicKeySize);
  std::string request;
  AppendHeader(sender, RequestCode::kPublicKey, kNameFieldSize + kPublicKeySize, request);
  AppendName(name, request);
  absl::StrAppend(&request, public_key);
  return request;
}

std::string EncodeFileHead(const Sender& sender, int64_t content_size,
                           absl::string_view file_name) {
  CHECK(content_size >= 0 && content_size <= kMaxContentSize) << content_size;
  std::string head;
  AppendHeader(sender, RequestCode::kFile, int64_t{4 + kNameFieldSize} + content_size, head);
  AppendInteger(static_cast<uint32_t>(content_size), head);
  AppendName(file_name, head);
  return head;
}

absl::StatusOr<AnswerHeader> DecodeAnswerHeader(absl::string_view header) {
  CHECK_EQ(header.size(), kAnswerHeaderSize);
  const auto version = IntegerAt<uint8_t>(header, 0);
  const auto code = IntegerAt<uint16_t>(header, 1);
  if (version != kAnswerVersion) {
    return absl::DataLossError(absl::StrCat("the server answers with version ", version));
  }
  if (code < static_cast<uint16_t>(AnswerCode::kRegistered) ||
      code > static_cast<uint16_t>(AnswerCode::kGeneralError)) {
    return absl::DataLossError(absl::StrCat("the server answers with the unknown code ", code));
  }
  return AnswerHeader{static_cast<AnswerCode>(code), IntegerAt<uint32_t>(header, 3)};
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
