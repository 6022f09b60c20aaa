#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/ids.h"

// The messages of family C as its client writes and reads them: docs/wire-protocol.md. Kept apart
// from the bridge's codec on purpose: two readings of one specification keep each other honest.
namespace backup::legacy_client {

inline constexpr size_t kNameFieldSize = 255;
inline constexpr size_t kPublicKeySize = 160;
inline constexpr size_t kEncryptedKeySize = 128;
inline constexpr size_t kAnswerHeaderSize = 7;
// The header counts the content with the size and name fields in front of it, in 32 bits.
inline constexpr int64_t kMaxContentSize = 0xFFFFFFFF - int64_t{4 + kNameFieldSize};

enum class RequestCode : uint16_t {
  kRegister = 1025,
  kPublicKey = 1026,
  kReconnect = 1027,
  kFile = 1028,
  kChecksumOk = 1029,
  kRetry = 1030,
  kAbort = 1031,
};

enum class AnswerCode : uint16_t {
  kRegistered = 2100,
  kRegistrationFailed = 2101,
  kKeyAccepted = 2102,
  kFileReceived = 2103,
  kAcknowledged = 2104,
  kReconnected = 2105,
  kReconnectDenied = 2106,
  kGeneralError = 2107,
};

// Who sends a request, as every header says it.
struct Sender {
  ClientId id;  // All zero before the registration.
  uint8_t version = 1;
};

// A whole request that carries a name only: all but kPublicKey and kFile. Names, here and below,
// must not be longer than their field.
std::string EncodeNameRequest(const Sender& sender, RequestCode code, absl::string_view name);

// A whole public key request. `public_key` must have kPublicKeySize bytes.
std::string EncodePublicKeyRequest(const Sender& sender, absl::string_view name,
                                   absl::string_view public_key);

// What goes before the content of a file. `content_size` must be 0 to kMaxContentSize.
std::string EncodeFileHead(const Sender& sender, int64_t content_size, absl::string_view file_name);

struct AnswerHeader {
  AnswerCode code = AnswerCode::kGeneralError;
  uint32_t payload_size = 0;
};

struct Answer {
  AnswerCode code = AnswerCode::kGeneralError;
  std::string payload;
};

struct KeyAnswer {
  ClientId id;
  std::string encrypted_key;
};

struct FileAnswer {
  ClientId id;
  uint32_t content_size = 0;
  std::string file_name;
  uint32_t checksum = 0;
};

// Each fails with DataLoss if the bytes are not what the protocol prescribes. `header` must have
// kAnswerHeaderSize bytes.
absl::StatusOr<AnswerHeader> DecodeAnswerHeader(absl::string_view header);
absl::StatusOr<ClientId> DecodeIdPayload(absl::string_view payload);
absl::StatusOr<KeyAnswer> DecodeKeyPayload(absl::string_view payload);
absl::StatusOr<FileAnswer> DecodeFilePayload(absl::string_view payload);

}  // namespace backup::legacy_client
