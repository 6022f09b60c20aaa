#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/blob_store.h"
#include "storage/catalog.h"

namespace backup::storage {

struct SweepResult {
  int64_t removed = 0;     // Blobs.
  int64_t kept_bytes = 0;  // Of all other blobs.
};

// Deletes the blobs that were created before `created_before` and to which no version refers;
// returns what it found. Safe beside running uploads only if every upload whose blob is older has
// ended: give the process's start, or longer ago than any transfer may last.
absl::StatusOr<SweepResult> Sweep(Catalog& catalog, BlobStore& blobs, absl::Time created_before);

}  // namespace backup::storage
