#pragma once

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "storage/postgres/connection.h"

namespace backup::storage::postgres {

// Columns of totals that are changed here; what the schema's functions change they write
// themselves.
enum class Total : size_t {
  kClients,
  kFiles,
  kVersions,
  kVerifiedVersions,
  kStoredBytes,
  kBlobBytes,
  kChunks,
  kUniqueBytes,
  kCompressedBytes,
  kWaitingBytes,
  kPacks,
  kPackBytes,
  kPackLiveBytes,
  kUnmovedVersions,
  kHealedChunks,
  kHealedVersions,
  kTrashFiles,
  kCount,
};

// What a transaction adds to the totals and did not write yet: once for all that it does, since
// each write of a row leaves a dead one behind. Used by one thread at a time.
class Totals {
 public:
  void Add(Total column, int64_t by) { sums_[static_cast<size_t>(column)] += by; }
  // Writes them into the session's row, if there are any; none is left.
  absl::Status Write(Connection& connection);

 private:
  std::array<int64_t, static_cast<size_t>(Total::kCount)> sums_ = {};
};

}  // namespace backup::storage::postgres
