#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "backup/v1/ingest.pb.h"
#include "content/encoding.h"
#include "storage/catalog/types.h"

namespace backup::handlers {

// A header whose every field was checked.
struct UploadRequest {
  ClientId client_id;
  std::string file_name;  // Raw bytes.
  content::Encoding encoding;
  std::optional<int64_t> original_size;
  storage::ChecksumKind checksum_kind = storage::ChecksumKind::kCksumOfPlaintext;
  bool checksum_is_candidate = false;  // The first to be tried with a client that is not known.
  storage::LegacyProfile observed;
  std::optional<UploadId> upload_id;
  std::optional<absl::Time> receive_time;  // At another server; not in the future.

  // Bytes that the plaintext has at least.
  int64_t least_size() const;
};

// Observed at `now`. Reasons INVALID_FIELD, SIZE_LIMIT.
absl::StatusOr<UploadRequest> ParseUploadHeader(const v1::UploadFileHeader& header, absl::Time now);

}  // namespace backup::handlers
