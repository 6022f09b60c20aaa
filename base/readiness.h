#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/periodic_task.h"

namespace backup {

// One thing that must work for the process to do its job. `run` may block for seconds.
struct Probe {
  std::string name;
  std::function<absl::Status()> run;
  // What it means if it fails.
  enum class Kind {
    kNeeded,  // The process is not ready.
    kVital,   // It is stuck, and only a restart will help.
    kNote,    // It does its job all the same.
  };
  Kind kind = Kind::kNeeded;
};

// Runs probes again and again on a thread of its own, so that whoever asks never waits for a slow
// disk. Thread-safe.
class Readiness {
 public:
  // What the probes use must outlive this, and so must `metrics`, which gets
  // backup_self_probe_success{probe} and backup_self_probe_duration_seconds{probe}.
  Readiness(std::vector<Probe> probes, absl::Duration interval, Metrics& metrics);

  struct Report {
    bool ready = false;
    bool alive = true;  // Unless a vital probe failed.
    std::string text;   // A line for each probe: name, "ok" or what is wrong.
  };
  // Not ready before the first round is done, and if a round hangs.
  Report Check() const;
  // From now on never ready: the process is about to end.
  void SetDraining();

 private:
  void RunProbes();
  absl::Status Run(const Probe& probe) const;
  bool draining() const;  // What fails while the process ends is not worth a line in the log.

  const std::vector<Probe> probes_;
  const absl::Duration interval_;
  const MetricFamily<Gauge> success_;
  const MetricFamily<Gauge> duration_;
  std::vector<absl::Status> before_;  // What the round before found. RunProbes()' own.
  mutable Mutex mutex_;
  std::vector<absl::Status> results_ ABSL_GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point checked_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  PeriodicTask rounds_;  // Last: ends before what it uses.
};

}  // namespace backup
