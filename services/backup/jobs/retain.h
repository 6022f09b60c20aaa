#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "services/backup/jobs/job.h"
#include "services/backup/jobs/pace.h"
#include "services/backup/retention/clock_watch.h"
#include "services/backup/retention/walk.h"
#include "storage/catalog/catalog.h"

namespace backup::jobs {

// Deletes the versions that no policy keeps, and those that nobody confirmed for long. While the
// machine's time is not trusted, or `check_keys` fails, a run fails, and does nothing; it fails at
// its end if something stays since what it would go for cannot be opened. Counts versions that it
// deleted. Used by one thread at a time.
class Retain final : public Job {
 public:
  static constexpr absl::string_view kName = "retain";

  struct Options {
    retention::Options retention;
    int64_t versions_per_second = 0;  // That are looked at; 0: as many as can be.
    bool for_good = false;            // There is no trash.
    // Versions from this id on are sealed by keys that are at hand, so that none need be opened.
    int64_t opened_from = std::numeric_limits<int64_t>::max();
  };

  // All that is borrowed must outlive this. `blobs_were_dropped` is told after each step that
  // deleted something for good. `check_keys` is asked when a walk begins whether what is in packs
  // and not known to be damaged can be read (handlers::CheckPacksOpen), and `check_own_key` of a
  // version outside them (handlers::CheckOwnKey) before an older one goes because it is there.
  Retain(
      storage::Catalog& catalog, retention::ClockWatch& clock_watch, const Clock& clock,
      const Options& options, std::function<void()> blobs_were_dropped = [] {},
      std::function<absl::Status()> check_keys = [] { return absl::OkStatus(); },
      std::function<absl::Status(int64_t version_id)> check_own_key =
          [](int64_t) { return absl::OkStatus(); })
      : catalog_(catalog),
        clock_watch_(clock_watch),
        clock_(clock),
        options_(options),
        blobs_were_dropped_(std::move(blobs_were_dropped)),
        check_keys_(std::move(check_keys)),
        check_own_key_(std::move(check_own_key)),
        pace_(options.versions_per_second) {}

  absl::string_view name() const override { return kName; }
  absl::string_view audit_action() const override { return "versions expire"; }
  // The cursor is the last file that was judged as a whole: its client's id and its name, in hex. A
  // file whose versions take several steps is begun anew by a later process, which deletes the
  // same. `budget` is left to `options`.
  absl::StatusOr<Progress> Step(const std::string& cursor, int64_t budget,
                                const std::stop_token& token) override;

 private:
  // A version that goes, and what was known of damage when its file was begun with.
  struct Going {
    storage::Expiring expiring;
    int64_t damage_epoch = 0;
  };
  class Batch;

  // Those of a file that go, but for those that would go because of a version that may not be
  // readable.
  absl::StatusOr<std::vector<Going>> GoingOf(const retention::JudgedFile& file,
                                             const std::stop_token& token);
  // How many of those that go were deleted. Stops between two transactions if told to.
  absl::StatusOr<int64_t> Expire(const std::vector<retention::JudgedFile>& judged,
                                 const std::stop_token& token);
  // At the end of a run; an error if that is to be told as one.
  absl::Status TellLeft() const;

  storage::Catalog& catalog_;
  retention::ClockWatch& clock_watch_;
  const Clock& clock_;
  const Options options_;
  const std::function<void()> blobs_were_dropped_;
  const std::function<absl::Status()> check_keys_;
  const std::function<absl::Status(int64_t)> check_own_key_;
  Pace pace_;
  // The walk that the last step was of, if `cursor_` is where it ended.
  std::optional<retention::Walk> walk_;
  std::string cursor_;
  int64_t left_ = 0;           // By this walk so far, since damage was found meanwhile,
  int64_t unopened_ = 0;       // or since what they would go for cannot be opened,
  absl::Status why_unopened_;  // the first of it.
};

}  // namespace backup::jobs
