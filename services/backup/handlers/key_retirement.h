#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/catalog/snapshot.h"
#include "storage/catalog/transaction.h"

// How far the job `retire` is, as the catalog keeps it (docs/storage.md).
namespace backup::handlers {

// Generations of keys that are to go once nothing is sealed by them. The job goes through all that
// may be, in rounds: one that leaves something is followed by another, later.
struct KeyRetirement {
  // What a round goes through, in this order. The numbers are kept: never change one.
  enum class Phase : int {
    kSecret = 1,  // The store's own.
    kUses = 2,    // What may still have been given something that they seal or have sealed.
    kClients = 3,
    kTrashedClients = 4,
    kVersions = 5,
    kPacks = 6,
    kUnknownBlobs = 7,  // That the catalog knows nothing of.
    kLastUses = 8,
    kRemoval = 9,
  };

  // Makes the next round begin, and at once.
  void BeginRound() {
    phase = Phase::kSecret;
    position.clear();
    next_round_time = absl::InfinitePast();
  }

  std::set<uint32_t> generations;  // None: nothing is to go.
  Phase phase = Phase::kSecret;
  std::string position;    // Of the phase, in the job's own words.
  int64_t resealed = 0;    // Keys that were sealed anew, and packs that were rewritten.
  int64_t left = 0;        // What the round, or the last one, met that cannot be sealed anew now,
  std::string first_left;  // and the first of that, with the reason.
  int64_t rounds = 0;      // That left something.
  absl::Time next_round_time = absl::InfinitePast();  // No round begins before.
  absl::Time progress_time =
      absl::InfinitePast();  // When it last came further, or began: what only a later round goes
                             // through once more is no progress.

  bool operator==(const KeyRetirement&) const = default;
};

// Of no generations if nothing is kept, or it cannot be read. Errors as
// Snapshot::FindStoreValue().
absl::StatusOr<KeyRetirement> FindRetirement(storage::Snapshot& snapshot);
// Whether something is kept that cannot be read.
absl::StatusOr<bool> IsRetirementUnreadable(storage::Snapshot& snapshot);
absl::Status SaveRetirement(storage::Transaction& transaction, const KeyRetirement& retirement);

// As it is kept: a line "name=value" for each field. Line ends in `first_left` become spaces.
std::string EncodeRetirement(const KeyRetirement& retirement);
std::optional<KeyRetirement> DecodeRetirement(absl::string_view text);

}  // namespace backup::handlers
