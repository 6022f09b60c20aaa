#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

// What differs between the families of clients, as a table: docs/wire-protocol.md.
namespace backup::legacy_client {

enum class Family { kA, kB, kC, kD, kE };

enum class RequestKind { kRegister, kPublicKey, kReconnect, kFile, kChecksumOk, kRetry, kAbort };
inline constexpr size_t kRequestKinds = 7;

struct FamilyTraits {
  std::array<uint16_t, kRequestKinds> request_codes;  // By RequestKind; 0: has no such request.
  uint16_t answer_base;                               // The answers' codes count from here.
  size_t session_key_size;
  bool has_id_in_payload;  // The client's id goes before the payload of files and verdicts.
  bool sends_packets;      // A file is a number of requests.
};

const FamilyTraits& TraitsOf(Family family);

// Family A knows no reconnect: its clients send their public key again.
bool HasReconnect(Family family);

}  // namespace backup::legacy_client
