#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/metrics.h"
#include "base/mutex.h"

namespace backup {

// How much of the disk bulk reads and writes may take: as much as they want, unless the catalog's
// commits become slow beside them. A limit of 1 and more is how many may be in flight; one below 1
// is the part of the time in which one is. By additive increase and multiplicative decrease, on
// the medians of short windows. What commits take without bulk is measured in windows without
// bulk; when there are none for a while, the limit goes to its floor for one of them. Pure
// arithmetic: times are what the caller says. Used by one thread at a time.
class BulkLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;

  static constexpr double kMax = 64;
  // Neither starves: bulk always has this part of the disk's time.
  static constexpr double kFloor = 0.125;
  // Commits may take so many times what they take without bulk, and always so long.
  static constexpr double kSlowdown = 2;
  static constexpr absl::Duration kAlwaysFine = absl::Milliseconds(1);
  // A window ends after this, if enough commits were seen in it.
  static constexpr absl::Duration kWindow = absl::Milliseconds(100);
  static constexpr size_t kMinCommits = 4;
  static constexpr size_t kMaxCommits = 256;  // That are looked at in a window.
  // Commits between which there is so much time in a window are so few that nobody feels what they
  // take: the bulk's own, as a rule. Neither are they judged, nor is it measured for them what they
  // take alone.
  static constexpr absl::Duration kMaxIdle = absl::Milliseconds(400);
  // Without a commit for so long, bulk is alone, and nothing limits it.
  static constexpr absl::Duration kQuiet = absl::Seconds(2);
  // So often at least it is measured what commits take without bulk, and so long that counts.
  static constexpr absl::Duration kProbeInterval = absl::Seconds(10);
  static constexpr absl::Duration kRemembered = absl::Seconds(30);

  // A commit took so long. `bulk_in_flight`: the most at once since the commit before.
  void OnCommit(Time now, absl::Duration took, int bulk_in_flight);
  // What it is now.
  double At(Time now) const;

 private:
  void EndWindow(Time now);
  bool IsQuiet(Time now) const;
  // What commits take without bulk: the least that is remembered.
  absl::Duration Baseline() const;

  struct Measured {
    Time when;
    absl::Duration median;
  };

  double limit_ = kMax;
  bool is_probing_ = false;
  std::optional<Time> last_commit_;
  Time window_start_;
  absl::Duration idle_;  // Without a commit, in the window.
  std::vector<absl::Duration> window_;
  int most_in_flight_ = 0;  // In the window.
  std::deque<Measured> without_bulk_;
};

// Lets bulk reads and writes of all files begin, in the order in which they ask. Thread-safe.
class BulkThrottle {
 public:
  struct Metrics {
    Metrics() = default;
    explicit Metrics(backup::Metrics& metrics);

    Gauge limit;
    Counter waited;  // Seconds.
  };

  explicit BulkThrottle(const Metrics& metrics = {}) : metrics_(metrics) {}
  BulkThrottle(const BulkThrottle&) = delete;
  BulkThrottle& operator=(const BulkThrottle&) = delete;

  // Of an operation that has begun.
  struct Ticket {
    BulkLimit::Time begin;
  };
  // Waits until one more operation may be in flight. Whatever the limit is, that is soon after
  // those before it have ended: a pause is never longer than kMaxPause.
  Ticket Begin();
  // Once for each Begin(), when the operation has ended, on any thread.
  void End(const Ticket& ticket);

  // A commit of the catalog took so long.
  void OnCommit(absl::Duration took);

 private:
  static constexpr absl::Duration kMaxPause = absl::Milliseconds(100);

  static BulkLimit::Time Now() { return std::chrono::steady_clock::now(); }

  // How long the first that waits has to wait still; zero if it may go on; nothing if that depends
  // on others' ends.
  std::optional<absl::Duration> TimeToWait(BulkLimit::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WakeFirst() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Metrics metrics_;
  Mutex mutex_;
  BulkLimit limit_ ABSL_GUARDED_BY(mutex_);
  int in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  int most_in_flight_ ABSL_GUARDED_BY(mutex_) = 0;  // Since the last commit.
  BulkLimit::Time pause_until_ ABSL_GUARDED_BY(mutex_);
  std::deque<CondVar*> waiting_ ABSL_GUARDED_BY(mutex_);
};

// One operation that its thread itself does, from construction to destruction.
class BulkTurn {
 public:
  // `throttle` may be null: then there is none.
  explicit BulkTurn(BulkThrottle* throttle) : throttle_(throttle) {
    if (throttle_ != nullptr) ticket_ = throttle_->Begin();
  }
  ~BulkTurn() {
    if (throttle_ != nullptr) throttle_->End(ticket_);
  }
  BulkTurn(const BulkTurn&) = delete;
  BulkTurn& operator=(const BulkTurn&) = delete;

 private:
  BulkThrottle* const throttle_;
  BulkThrottle::Ticket ticket_;
};

}  // namespace backup
