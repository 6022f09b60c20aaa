#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/metrics.h"
#include "services/backup/handlers/check_store.h"
#include "services/backup/handlers/open_content.h"
#include "services/backup/handlers/scrub_state.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/jobs/healing.h"
#include "services/backup/jobs/job.h"
#include "services/backup/jobs/pace.h"

namespace backup::jobs {

// What is counted of scrubbing. Default-constructed: nothing. Thread-safe.
struct ScrubMetrics {
  ScrubMetrics() = default;
  // `metrics` must outlive the use of this.
  explicit ScrubMetrics(Metrics& metrics);

  Counter read_bytes;
  MetricFamily<Counter> findings;  // kind: damaged, missing, unreadable, orphan.
};

// Reads everything that is stored once in a period, always in the same order, so that what was read
// longest ago comes first, and compares it (handlers::StoreCheck). How far it is, what it found and
// whether it is paused is kept in the catalog, with each step: a crash costs what was read since
// the last one. Heals what can be healed (Healing), also while it is paused or nothing is due.
// Counts packs and versions that it read. Used by one thread at a time.
class Scrub final : public Job {
 public:
  static constexpr absl::string_view kName = "scrub";
  // How often there is to be a look whether a cycle is due, and whether anything can be healed.
  static constexpr absl::Duration kPollInterval = absl::Seconds(10);

  struct Options {
    absl::Duration period;         // 0: no cycle begins by itself.
    int64_t bytes_per_second = 0;  // That are read; 0: as many as can be.
  };

  // What is borrowed must outlive this.
  Scrub(const handlers::UploadResources& resources, const handlers::StoredPlaces& places,
        const Options& options, const ScrubMetrics& metrics, Pace::Wait wait = WaitFor)
      : resources_(resources),
        places_(places),
        options_(options),
        metrics_(metrics),
        pace_(options.bytes_per_second, std::move(wait)),
        healing_(resources, places, pace_) {}

  absl::string_view name() const override { return kName; }
  // There is no cursor: handlers::ScrubState has it. A step is a page of packs or versions.
  absl::StatusOr<Progress> Step(const std::string& cursor, int64_t budget,
                                const std::stop_token& token) override;

 private:
  bool IsDue() const;
  absl::Status Begin();
  absl::StatusOr<Progress> Go(const std::stop_token& token);
  absl::Status CheckPacks(const std::stop_token& token, int64_t& count);
  absl::Status CheckVersions(const std::stop_token& token, int64_t& count);
  absl::Status CheckBlobs();
  void GoOnWith(handlers::ScrubState::Phase phase);
  // Keeps state_, but for what others may have asked for meanwhile, which it takes over.
  absl::Status Save();
  // Now and then. Where it cannot, as on a full disk, everything is read all the same.
  void Heal(const std::stop_token& token);
  void HealNow(const std::stop_token& token);
  std::unique_ptr<handlers::StoreCheck> NewCheck();
  absl::Status Note(const v1::VerifyFinding& finding);
  std::string Detail() const;

  const handlers::UploadResources& resources_;
  const handlers::StoredPlaces places_;
  const Options options_;
  const ScrubMetrics metrics_;
  Pace pace_;
  Healing healing_;
  std::chrono::steady_clock::time_point next_healing_;   // While a cycle is under way,
  std::chrono::steady_clock::time_point retry_healing_;  // and in any case, after it failed.
  std::stop_token token_;                                // Of the step that is going on.
  handlers::ScrubState state_;  // As it was saved, and what was done since.
  int64_t logged_ = 0;          // Findings of the cycle, by this process.
  // Of the cycle that is under way; null if this process has not begun with it.
  std::unique_ptr<handlers::StoreCheck> check_;
};

}  // namespace backup::jobs
