#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "base/ids.h"

// Requests and answers of the legacy protocol as plain values, the same for every dialect. Names
// are raw bytes, cut at their first NUL. The specification is docs/wire-protocol.md.
namespace backup::wire {

// Which checksum the client expects in the answer to a file.
enum class Checksum { kCksumOfPlaintext, kCrc32OfCiphertext };

struct Register {
  std::string name;
};
struct SendPublicKey {
  std::string name;
  std::string public_key;  // As sent: DER, perhaps padded.
};
struct Reconnect {
  std::string name;
};
// The head of a file request; its content follows as DecodedHead::body_size bytes.
struct SendFile {
  uint32_t content_size = 0;  // As the client said it; echoed, not relied on.
  std::string name_field;     // All 255 bytes; echoed.
  std::string name;
  Checksum checksum = Checksum::kCksumOfPlaintext;
};
struct ChecksumVerdict {
  enum class Kind { kValid, kRetry, kAbort };
  Kind kind = Kind::kValid;
  std::string name;
};
using Operation = std::variant<Register, SendPublicKey, Reconnect, SendFile, ChecksumVerdict>;

struct Request {
  ClientId client_id;  // Garbage in a registration.
  uint8_t version = 0;
  uint16_t code = 0;
  Operation operation;
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
