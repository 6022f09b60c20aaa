#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "backup/v1/admin.pb.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/snapshot.h"
#include "storage/catalog/transaction.h"

// What callers are told of the job `scrub`, and what they tell it (scrub_state.h).
namespace backup::handlers {

struct ScrubPolicy {
  absl::Duration period;         // How often everything is to be read; 0: only if told to.
  int64_t bytes_per_second = 0;  // That are read at most; 0: no limit.
};

absl::StatusOr<v1::GetScrubResponse> GetScrub(storage::Snapshot& snapshot,
                                              const ScrubPolicy& policy);
absl::StatusOr<v1::StartScrubResponse> StartScrub(storage::Transaction& transaction,
                                                  const ScrubPolicy& policy);
absl::StatusOr<v1::PauseScrubResponse> PauseScrub(storage::Transaction& transaction,
                                                  const ScrubPolicy& policy);
// In small transactions: if it fails, part of it may be done, and it may be repeated.
absl::StatusOr<v1::DiscardDamagedResponse> DiscardDamaged(storage::Catalog& catalog);

}  // namespace backup::handlers
