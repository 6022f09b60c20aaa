#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "base/ids.h"

// Requests and answers of the legacy protocol as plain values, the same for every dialect. Names
// are raw bytes, cut at their first NUL. The specification is docs/wire-protocol.md.
namespace backup::wire {

// What a client may compare with the checksum in the answer to a file.
enum class Checksum {
  kCksumOfPlaintext,
  kCksumOfCiphertext,
  kCrc32OfPlaintext,
  kCrc32OfCiphertext,
};

struct Register {
  std::string name;
};
struct SendPublicKey {
  std::string name;
  std::string public_key;  // As sent: DER, perhaps padded.
  int session_key_bits = 128;
};
struct Reconnect {
  std::string name;
};
// Which of the packets of a file a request carries. Some clients swap the two fields, which only
// the first packet shows.
struct Packet {
  uint16_t number = 0;  // Of 1 to `total`; or the total.
  uint16_t total = 0;   // Or the number.
  uint32_t original_size = 0;
};
// The head of a file request; its content, or one packet's part of it, follows as
// DecodedHead::body_size bytes.
struct SendFile {
  uint32_t content_size = 0;  // As the client said it; echoed.
  std::string name_field;     // All 255 bytes; echoed.
  std::string name;
  // What this client most likely compares; it asks for a retry if not.
  Checksum first_checksum = Checksum::kCksumOfPlaintext;
  absl::string_view size_style;  // How the sender fills the payload size in, for the record.
  bool id_in_front = false;
  std::optional<Packet> packet;
  // It carries one block of a file, which is encrypted on its own; content_size is the file's.
  bool is_block = false;
};
struct ChecksumVerdict {
  enum class Kind { kValid, kRetry, kAbort };
  Kind kind = Kind::kValid;
  std::string name;
  bool id_in_front = false;
};
using Operation = std::variant<Register, SendPublicKey, Reconnect, SendFile, ChecksumVerdict>;

struct Request {
  ClientId client_id;  // Garbage in a registration.
  uint8_t version = 0;
  uint16_t code = 0;
  Operation operation;
  // Which generation of clients sends this, as far as it shows; for the client's record.
  absl::string_view family;
};

struct DecodedHead {
  Request request;
  size_t head_size = 0;    // Bytes of the input that the head took.
  uint64_t body_size = 0;  // Bytes of content that follow it.
};

struct Registered {
  ClientId id;
};
struct RegistrationFailed {};
struct KeyAccepted {
  ClientId id;
  std::string encrypted_session_key;
};
struct FileReceived {
  ClientId id;
  uint32_t content_size = 0;  // From SendFile.
  std::string name_field;     // From SendFile.
  uint32_t checksum = 0;
};
struct Acknowledged {
  std::optional<ClientId> id;
};
struct Reconnected {
  ClientId id;
  std::string encrypted_session_key;
};
// `fresh_id` is one on which the client may send its public key at once.
struct ReconnectDenied {
  ClientId fresh_id;
};
struct GeneralError {};
using Reply = std::variant<Registered, RegistrationFailed, KeyAccepted, FileReceived, Acknowledged,
                           Reconnected, ReconnectDenied, GeneralError>;

}  // namespace backup::wire
