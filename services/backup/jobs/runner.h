#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/periodic_task.h"
#include "services/backup/jobs/job.h"
#include "storage/catalog/catalog.h"

namespace backup::jobs {

// What is counted of jobs. Default-constructed: nothing. Thread-safe.
struct JobMetrics {
  JobMetrics() = default;
  // `metrics` must outlive the use of this.
  explicit JobMetrics(Metrics& metrics);

  MetricFamily<Counter> runs;        // job, result: ok, failed.
  MetricFamily<Counter> items;       // job.
  MetricFamily<Gauge> last_success;  // job.
};

// What a run did that the audit log tells of (Job::audit_action).
struct AuditedRun {
  absl::string_view action;
  int64_t count = 0;    // Above 0.
  absl::Status result;  // Cancelled: it was told to stop, and is gone on with.
};
// Puts that into the audit log, in this transaction.
using AuditRun = std::function<absl::Status(storage::Transaction&, const AuditedRun&)>;

// How a job is run.
struct Schedule {
  absl::Duration interval;          // From the end of a run to the beginning of the next.
  int64_t items_per_second = 1000;  // At most, on average.
};

// Runs one job, step by step; what came of it is kept in the catalog, so that a
// run that a crash interrupted goes on where it was. Used by one thread at a time.
class JobRun {
 public:
  // All that is borrowed must outlive this.
  JobRun(Job& job, const Schedule& schedule, storage::Catalog& catalog, const Clock& clock,
         const JobMetrics& metrics, AuditRun audit = {});

  // One run, from where the last one ended to the job's end, or until `token` is told to stop. Logs
  // one line if it did anything or failed.
  void Run(const std::stop_token& token);

 private:
  // What is kept of earlier runs, also of another process's.
  absl::Status Load();
  // With `run`, if that is to be told in the audit log.
  void Save(const AuditedRun& run = {});
  // What came of the steps of one run.
  struct Outcome {
    int64_t count = 0;
    bool is_idle = false;
    std::string detail;
  };
  // Of a run that the next process goes on with.
  void TellStopped(const Outcome& outcome);
  bool IsTold(const AuditedRun& run) const;
  absl::Status RunSteps(const std::stop_token& token, Outcome& outcome);
  void Note(const absl::Status& result, const Outcome& outcome);

  Job& job_;
  const Schedule schedule_;
  storage::Catalog& catalog_;
  const Clock& clock_;
  const JobMetrics metrics_;
  const AuditRun audit_;
  storage::JobState state_;
  bool is_loaded_ = false;
};

// Runs jobs by themselves, each on a thread of its own: at once, and then at its interval.
// Thread-safe.
class Runner {
 public:
  // `catalog` and `clock` must outlive this. Without `audit` no run is told of.
  Runner(storage::Catalog& catalog, const Clock& clock, const JobMetrics& metrics,
         AuditRun audit = {})
      : catalog_(catalog), clock_(clock), metrics_(metrics), audit_(std::move(audit)) {}
  // Waits for steps that are going on.
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Runs `job` from now on.
  void Add(std::unique_ptr<Job> job, const Schedule& schedule);
  // Runs the job of this name, if there is one, as soon as possible. Also for jobs.
  void Wake(absl::string_view name);

 private:
  struct Entry {
    Entry(std::unique_ptr<Job> added, const Schedule& schedule, storage::Catalog& catalog,
          const Clock& clock, const JobMetrics& metrics, const AuditRun& audit)
        : job(std::move(added)),
          run(*job, schedule, catalog, clock, metrics, audit),
          task(
              schedule.interval, [this](const std::stop_token& token) { run.Run(token); },
              PeriodicTask::FirstRun::kAtOnce) {}
    const std::unique_ptr<Job> job;
    JobRun run;
    PeriodicTask task;  // Last: starts when all else is ready.
  };

  storage::Catalog& catalog_;
  const Clock& clock_;
  const JobMetrics metrics_;
  const AuditRun audit_;
  Mutex mutex_;
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);  // By name.
};

}  // namespace backup::jobs
