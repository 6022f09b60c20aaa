#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"

namespace backup::jobs {

// Packs that one job wants the job `repack` to rewrite, however much of them is alive. Thread-safe.
class RequiredPacks {
 public:
  // In the place of those before.
  void Require(std::vector<int64_t> packs) {
    MutexLock lock(mutex_);
    packs_ = std::move(packs);
    required_at_ = begun_;
  }
  std::vector<int64_t> packs() const {
    MutexLock lock(mutex_);
    return packs_;
  }
  // Whether a run of `repack` that began after Require() has ended.
  bool were_tried() const {
    MutexLock lock(mutex_);
    return !is_running_ ? begun_ > required_at_ : begun_ > required_at_ + 1;
  }
  // Why the last run that ended could not rewrite this pack, or did not come to it. OK if it was
  // rewritten and is there all the same: it has a damaged chunk that something refers to.
  absl::Status FailureOf(int64_t pack) const {
    MutexLock lock(mutex_);
    const auto found = last_.failures.find(pack);
    if (found != last_.failures.end()) return found->second;
    if (!last_.end.ok() || last_.tried.contains(pack)) return last_.end;
    return absl::UnavailableError("uploads that are under way may refer to what is in it");
  }

  // What `repack` calls.

  struct Run {
    std::set<int64_t> tried;                   // Packs.
    std::map<int64_t, absl::Status> failures;  // Of packs.
    absl::Status end;                          // What ended it before it came to all.
  };
  void NoteStep() {
    MutexLock lock(mutex_);
    if (!std::exchange(is_running_, true)) ++begun_;
  }
  void NoteEnd(Run run) {
    MutexLock lock(mutex_);
    is_running_ = false;
    last_ = std::move(run);
  }

 private:
  mutable Mutex mutex_;
  std::vector<int64_t> packs_ ABSL_GUARDED_BY(mutex_);
  int64_t begun_ ABSL_GUARDED_BY(mutex_) = 0;  // Runs.
  bool is_running_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t required_at_ ABSL_GUARDED_BY(mutex_) = 0;
  Run last_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::jobs
