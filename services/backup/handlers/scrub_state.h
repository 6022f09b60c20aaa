#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/catalog/snapshot.h"
#include "storage/catalog/transaction.h"

// How far the job `scrub` is, as the catalog keeps it (docs/storage.md).
namespace backup::handlers {

// What one cycle, which reads everything once, has read and found.
struct ScrubTally {
  int64_t stored_bytes = 0;  // That were read.
  int64_t packs = 0;
  int64_t versions = 0;
  // Findings, by their kind (v1::VerifyFinding).
  int64_t damaged = 0;
  int64_t missing = 0;
  int64_t unreadable = 0;
  int64_t orphans = 0;

  bool operator==(const ScrubTally&) const = default;
};

struct ScrubState {
  // What a cycle goes through, in this order. The numbers are kept: never change one.
  enum class Phase : int { kPacks = 1, kVersions = 2, kBlobs = 3 };

  bool is_paused = false;
  bool is_wanted = false;  // A cycle is to begin, whether one is due or not.
  // Of the cycle that is under way:
  std::optional<absl::Time> start_time;  // Nothing: none is.
  Phase phase = Phase::kPacks;
  int64_t position = 0;     // The last pack or version that was read; 0: none was.
  int64_t total_steps = 0;  // How much there was at its start: stored bytes, and some a version.
  int64_t done_steps = 0;   // Of those.
  ScrubTally tally;
  // Of the last one that came to its end:
  std::optional<absl::Time> last_start_time;
  std::optional<absl::Time> last_end_time;
  ScrubTally last_tally;

  // How much of the cycle is done, from 0 to 1; 1 between cycles.
  double progress() const;
  // When the next cycle is to begin, or should have begun, if one begins every `period`.
  absl::Time NextStart(absl::Duration period) const;
  // By when everything is to have been read: the end of the cycle that is under way, or of the next
  // one, which should take one period.
  absl::Time Deadline(absl::Duration period) const;

  bool operator==(const ScrubState&) const = default;
};

// A fresh one if nothing is kept, or it cannot be read. Errors as Snapshot::FindStoreValue().
absl::StatusOr<ScrubState> FindScrub(storage::Snapshot& snapshot);
absl::Status SaveScrub(storage::Transaction& transaction, const ScrubState& state);

// As it is kept: "name=number" for each field, and spaces.
std::string EncodeScrub(const ScrubState& state);
std::optional<ScrubState> DecodeScrub(absl::string_view bytes);

}  // namespace backup::handlers
