#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/backup/restore_state.h"

// How the state of a service that does not run is made anew of its newest snapshot and of what its
// store tells that came later (docs/storage.md, docs/adr/0038).
namespace backup {

// What came of it.
struct RebuildReport {
  // So many lines are kept of what could not be saved.
  static constexpr size_t kMaxLost = 10'000;

  // What it began with: a snapshot, or the catalog that was in place. Empty: there was none.
  std::string snapshot_path;
  absl::Time snapshot_time = absl::InfinitePast();
  std::vector<std::string> unreadable;  // Snapshots that were passed over, and why.
  std::string aside;                    // As of PutInPlace().
  // Of what the store had and the snapshot did not:
  int64_t packs = 0;
  int64_t versions = 0;
  int64_t clients = 0;
  // Versions of the snapshot whose content had moved, and was found.
  int64_t moved = 0;
  // Versions and blobs that could not be saved, each with the reason, and how many those are.
  std::vector<std::string> lost;
  int64_t lost_count = 0;
  // Afterwards all was read. Versions that were damaged then, and which a snapshot had whole:
  int64_t healed = 0;
  // Of all, without those:
  int64_t checked_versions = 0;
  int64_t checked_bytes = 0;
  int64_t damaged_versions = 0;
};

// How long nobody may remove a version that is taken in: it is unconfirmed, and old.
inline constexpr absl::Duration kKeepRebuilt = absl::Hours(30 * 24);

// What becomes of what is sealed by a generation of keys that is missing.
enum class MissingKeys {
  kRefuse,  // It may be found yet, so nothing is done.
  kGiveUp,  // It is named as lost: blobs the catalog does not know, and versions that it does.
};

// Makes the catalog anew, puts it in place, and then reads all to check it; what is damaged and was
// in the catalog, and is whole in another snapshot, is taken from that, of the first kMaxLost that
// are. It begins with the chosen
// snapshot; if no file is chosen, with the catalog that is in place if that is sound, its keys open
// and it is as new as each of FindOwnSnapshots(). If there are none, all that blobs tell is taken
// in, which is no small content and no key of a client. What was there is put aside. Versions that
// it takes in are unconfirmed (kReceived): a verdict is not told; they are kept for kKeepRebuilt.
// Memory: 16 bytes for each blob, and the recipes of what is taken in. After a crash it is to be
// done again from the beginning. Errors, which leave the catalog as it is, as of OpenSnapshot(),
// and of the store: STORAGE_IO, or BACKEND_DOWN and OVERLOADED if it is an object store that cannot
// be asked, FailedPrecondition if that has the blobs of another; reason KEY_MISSING if something is
// sealed by a generation of keys that neither the catalog nor the file has, unless that is given
// up, but for the store's secret; FailedPrecondition if there are snapshots, but only of a master
// key that is not at hand, and no catalog in place that holds anything.
absl::StatusOr<RebuildReport> RebuildState(const HeldDataDir& data_dir,
                                           const SnapshotChoice& choice, MissingKeys missing_keys,
                                           absl::Time now, const StateListener& listener);

}  // namespace backup
