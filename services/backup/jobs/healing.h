#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/backup/handlers/open_content.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/jobs/pace.h"
#include "services/backup/jobs/store_anew.h"
#include "storage/catalog/types.h"

namespace backup::jobs {

// Puts content in the place of that of damaged versions which equals what they had: that of any
// other version with the same SHA-256 and size that can be read, whoever sent it, in the form that
// the damaged one has, or sealed by the service if that was the client's ciphertext. A chunk that
// an upload stored again has healed without that; this tells. Used by one thread at a time.
class Healing {
 public:
  // What is borrowed must outlive this.
  Healing(const handlers::UploadResources& resources, const handlers::StoredPlaces& places,
          Pace& pace)
      : resources_(resources), places_(places), pace_(pace) {}

  // How often it looks through all versions while something is damaged: one that could not be read
  // when it was compared may be read now, and one with a lower id may have come to the catalog
  // after a later one, since ids are reserved before content has come.
  static constexpr absl::Duration kLookAgain = absl::Hours(1);

  // Looks through the versions that came since it looked last, or through all if anything else is
  // damaged now than then, or if that is kLookAgain ago. Of many damaged versions it takes some at
  // a time, and goes on with the others once it looked through all for these. Returns how many
  // versions it healed. Does little while nothing is damaged. Errors as of PendingChunks::Store()
  // and of the catalog.
  absl::StatusOr<int64_t> Run(const std::stop_token& token);
  // Looks through all versions at the next run.
  void StartOver() { signature_.reset(); }

 private:
  // SHA-256 and size.
  using Identity = std::pair<std::string, int64_t>;
  // What the catalog counts of damage: if that is as it was, so is what is damaged.
  using Signature = std::array<int64_t, 4>;

  void TellOfHealedChunks(const storage::Counts& counts);
  bool IsToCollect(const Signature& signature) const;
  // Takes the next damaged versions behind those that it took before, round and round.
  absl::Status CollectDamaged(const std::stop_token& token);
  // Lets time pass until it looks through all again, after it began with that at `begin`.
  void Rest(std::chrono::steady_clock::time_point begin);
  // Heals those that equal this version.
  absl::StatusOr<int64_t> HealFrom(const storage::StoredVersion& good,
                                   const std::stop_token& token);
  // Whether it is healed, or needs nothing any more.
  absl::StatusOr<bool> Heal(const storage::Version& damaged, const storage::StoredVersion& good,
                            const std::stop_token& token);
  // Nothing if it cannot be read.
  absl::StatusOr<std::optional<StoredAnew>> Copy(const storage::Version& damaged,
                                                 const storage::StoredVersion& good,
                                                 const std::stop_token& token);

  const handlers::UploadResources& resources_;
  const handlers::StoredPlaces places_;
  Pace& pace_;
  std::map<Identity, std::vector<storage::Version>> damaged_;
  std::optional<Signature> signature_;  // When damaged_ was collected.
  absl::Time collect_time_;             // The same, by the wall clock.
  int64_t collected_to_ = 0;            // The last damaged version that was taken; 0: all were.
  bool looked_through_ = false;         // All versions were compared with those.
  int64_t looked_to_ = 0;               // The last one that was.
  std::optional<int64_t> healed_chunks_;
  std::chrono::steady_clock::time_point next_collection_;
};

}  // namespace backup::jobs
