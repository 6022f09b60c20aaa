#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "base/ids.h"

namespace backup::storage {

// The numbers are those of the database and of blob footers, and of proto/backup/v1/types.proto:
// never change one.
enum class ChecksumKind : int {
  kCksumOfPlaintext = 1,
  kCrc32OfCiphertext = 2,
  kCksumOfCiphertext = 3,
  kCrc32OfPlaintext = 4,
};
// kClientSegments is kClientCiphertext of a file that came in segments, each with its size before
// it (UploadFileHeader.AES_CBC_ZERO_IV_SEGMENTS), and kClientFormat of one in any other format,
// which its footer tells; the API does not tell them apart.
enum class StorageForm : int {
  kPlain = 1,
  kSealed = 2,
  kClientCiphertext = 3,
  kClientSegments = 4,
  kClientFormat = 5,
};
// Whether it is the client's own ciphertext, under its session key.
inline bool IsClientsForm(StorageForm form) { return form >= StorageForm::kClientCiphertext; }
enum class VersionState : int { kReceived = 1, kVerified = 2, kAbandoned = 3 };

// What a client made of the checksum of a version: right; wrong, and the file comes again; wrong
// for the last time.
enum class Outcome { kVerified, kRetrying, kAbandoned };

// One version of a file. Everything but its content.
struct Version {
  ClientId client_id;
  std::string file_name;  // Raw bytes.
  int64_t version_id = 0;
  int64_t size_bytes = 0;
  int64_t encoded_size = 0;
  ChecksumKind checksum_kind = ChecksumKind::kCksumOfPlaintext;
  uint32_t checksum = 0;
  std::string sha256;  // 32 bytes.
  VersionState state = VersionState::kReceived;
  absl::Time receive_time;
  // When it came to this store, if receive_time tells when it came to another one, or before the
  // catalog was rebuilt.
  std::optional<absl::Time> arrive_time;
  std::optional<absl::Time> verify_time;
  StorageForm form = StorageForm::kPlain;
  std::optional<UploadId> upload_id;
  std::optional<absl::Time> retain_until;  // Nobody may remove it before.
  // Its content is known not to be what was stored: the version is marked, or a chunk of it is
  // damaged. Says nothing of `state`, which it has again once it is healed. Only told by a catalog.
  bool is_damaged = false;
  std::optional<absl::Time> delete_time;  // Of one in the trash: its own, else its client's.
};

}  // namespace backup::storage
