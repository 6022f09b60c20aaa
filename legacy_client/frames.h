#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "legacy_client/families.h"

// The messages as clients of every family write and read them: docs/wire-protocol.md. Kept apart
// from the bridge's codec on purpose: two readings of one specification keep each other honest.
namespace backup::legacy_client {

inline constexpr size_t kNameFieldSize = 255;
inline constexpr size_t kPublicKeySize = 160;
inline constexpr size_t kEncryptedKeySize = 128;
inline constexpr size_t kAnswerHeaderSize = 7;
// All that a payload size, or any other size field, can say.
inline constexpr int64_t kMaxFieldValue = 0xFFFFFFFF;

// An answer's code less the first of its family.
enum class AnswerKind : uint16_t {
  kRegistered,
  kRegistrationFailed,
  kKeyAccepted,
  kFileReceived,
  kAcknowledged,
  kReconnected,
  kReconnectDenied,
  kGeneralError,
};

// How many bytes pad a message to a multiple of 1024, for clients that speak in such blocks.
size_t BlockPadding(size_t message_size);

// Who sends a request, as every header says it, and of which family it is.
struct Sender {
  ClientId id;  // All zero before the registration.
  uint8_t version = 1;
  Family family = Family::kC;
};

// A whole request that carries a name only: all but kPublicKey and kFile. The sender's family must
// have such a request. Names, here and below, must not be longer than their field.
std::string EncodeNameRequest(const Sender& sender, RequestKind kind, absl::string_view name);

// A whole public key request. `public_key` must have kPublicKeySize bytes.
std::string EncodePublicKeyRequest(const Sender& sender, absl::string_view name,
                                   absl::string_view public_key);

// What a file's payload has before the content: for families that send no packets, and per packet.
int64_t FileFieldsSize(Family family);

// The sizes that a file request claims, true or not; each 0 to kMaxFieldValue.
struct FileHead {
  int64_t payload_size = 0;
  int64_t content_size = 0;
};

// What goes before the content of a file, from a sender whose family sends no packets.
std::string EncodeFileHead(const Sender& sender, const FileHead& head, absl::string_view file_name);

// The fields of a packet; sizes are 0 to kMaxFieldValue. `first` and `second` are its number
// (counted from 1) and how many there are, in the order in which this client writes them.
struct PacketHead {
  int64_t payload_size = 0;
  int64_t content_size = 0;
  int64_t original_size = 0;
  uint16_t first = 0;
  uint16_t second = 0;
};

// What goes before the content of a packet, from a sender whose family sends packets.
std::string EncodePacketHead(const Sender& sender, const PacketHead& head,
                             absl::string_view file_name);

struct AnswerHeader {
  AnswerKind kind = AnswerKind::kGeneralError;
  uint32_t payload_size = 0;
};

struct Answer {
  AnswerKind kind = AnswerKind::kGeneralError;
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
absl::StatusOr<AnswerHeader> DecodeAnswerHeader(absl::string_view header, Family family);
absl::StatusOr<ClientId> DecodeIdPayload(absl::string_view payload);
absl::StatusOr<KeyAnswer> DecodeKeyPayload(absl::string_view payload);
absl::StatusOr<FileAnswer> DecodeFilePayload(absl::string_view payload);

}  // namespace backup::legacy_client
