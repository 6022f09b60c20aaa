#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "base/ids.h"

// Requests and answers of the legacy protocol as plain values, the same for every dialect. Names
// are raw bytes, cut where the dialect says. The specification is docs/wire-protocol.md.
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
// What session key a client takes, and how it is encrypted for it.
struct SessionKeyForm {
  int bits = 128;
  bool pkcs1_v15 = false;  // RSAES-PKCS1-v1_5, not RSAES-OAEP.
};
struct SendPublicKey {
  std::string name;
  std::string public_key;  // DER, perhaps padded.
  SessionKeyForm session_key = {};
};
struct Reconnect {
  std::string name;
  SessionKeyForm session_key = {};
};
// Which of the packets of a file a request carries. Some clients swap the two fields, which only
// the first packet shows.
struct Packet {
  uint64_t number = 0;  // Of 1 to `total`; or the total.
  uint64_t total = 0;   // Or the number.
  uint64_t original_size = 0;
};
// The head of a file request; its content, or the first part of it, follows as
// DecodedHead::body_size bytes.
struct SendFile {
  uint64_t content_size = 0;  // As the client said it; echoed.
  std::string name_field;     // All of the field's bytes; echoed.
  std::string name;
  // What this client most likely compares; it asks for a retry if not.
  Checksum first_checksum = Checksum::kCksumOfPlaintext;
  absl::string_view size_style;  // How the sender fills the payload size in, for the record.
  bool id_in_front = false;
  std::optional<Packet> packet;
  // Of what ORIGINAL_SIZE says, if the dialect relies on it.
  std::optional<uint64_t> plaintext_size;
  // Of a file in blocks: the size of all its ciphertext, of which body_size bytes are the first
  // block's. 0: not in blocks.
  uint64_t blocks_size = 0;
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
  uint32_t version = 0;
  uint32_t code = 0;
  Operation operation;
  // The dialect, or its label for such a client, as far as it shows; for the client's record. Lives
  // as long as the dialect.
  absl::string_view family;
  bool id_in_payload = false;  // The client's id.
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
  uint64_t content_size = 0;  // From SendFile.
  std::string name_field;     // From SendFile.
  uint32_t checksum = 0;
};
struct Acknowledged {
  ClientId id;
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
