#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup::jobs {

// Something that runs by itself, now and then, from a beginning to an end, in small steps. What is
// left of a step that a crash interrupted is done again by the next: so a step may be done twice.
// Used by one thread at a time.
class Job {
 public:
  struct Progress {
    std::string cursor;  // Where the next step goes on, in the job's own words.
    bool is_done = false;
    int64_t count = 0;  // What this step did, in the job's own unit.
    // Nothing was to be done yet: such a run is not noted, nor is its cursor.
    bool is_idle = false;
    std::string detail = {};  // For the run's log line: " name=value" of each thing to be told.
    // What a run that is done could not do: it counts as failed, and the next one begins anew.
    absl::Status left = {};
  };

  virtual ~Job() = default;
  // What it is called in the catalog, in metrics and in `backupctl status`.
  virtual absl::string_view name() const = 0;
  // What the audit log calls what a run does; empty: it tells nothing of it.
  virtual absl::string_view audit_action() const { return ""; }
  // Does the next items, at most about `budget` of them. `cursor` is that of the step before; empty
  // at the beginning of a run. Work that takes long ends when `token` is told to stop. An error
  // ends the run; the next one begins at the cursor of the last step that went well.
  virtual absl::StatusOr<Progress> Step(const std::string& cursor, int64_t budget,
                                        const std::stop_token& token) = 0;
};

}  // namespace backup::jobs
