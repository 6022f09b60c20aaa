#include "services/backup/jobs/runner.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::jobs {
namespace {

constexpr MetricName kRuns{"backup_job_runs_total",
                           "Runs of jobs that run by themselves, by what became of them"};
constexpr MetricName kItems{"backup_job_items_total",
                            "What jobs that run by themselves did, in the unit of each"};
constexpr MetricName kLastSuccess{"backup_job_last_success_timestamp_seconds",
                                  "When a run of the job last ended well"};

// Items of one step at most: between two steps the cursor is saved, and a stop is noticed.
constexpr int64_t kMaxBudget = 256;

}  // namespace

JobMetrics::JobMetrics(Metrics& metrics)
    : runs(metrics.AddCounters(kRuns, {"job", "result"})),
      items(metrics.AddCounters(kItems, {"job"})),
      last_success(metrics.AddGauges(kLastSuccess, {"job"})) {}

JobRun::JobRun(Job& job, const Schedule& schedule, storage::Catalog& catalog, const Clock& clock,
               const JobMetrics& metrics, AuditRun audit)
    : job_(job),
      schedule_(schedule),
      catalog_(catalog),
      clock_(clock),
      metrics_(metrics),
      audit_(std::move(audit)) {
  state_.name = std::string(job.name());
}

void JobRun::Run(const std::stop_token& token) {
  Outcome outcome;
  absl::Status result = Load();
  if (result.ok()) {
    const std::optional<absl::Time> last_start = state_.last_start_time;
    state_.last_start_time = clock_.Now();
    result = RunSteps(token, outcome);
    if (result.ok() && outcome.is_idle) state_.last_start_time = last_start;
  }
  if (result.ok() && outcome.is_idle) return;
  // Else the next process goes on.
  if (result.ok() && token.stop_requested()) return TellStopped(outcome);
  Note(result, outcome);
}

void JobRun::TellStopped(const Outcome& outcome) {
  const AuditedRun run{job_.audit_action(), outcome.count, absl::CancelledError("it goes on")};
  if (IsTold(run)) Save(run);
}

bool JobRun::IsTold(const AuditedRun& run) const {
  return audit_ && !run.action.empty() && run.count > 0;
}

absl::Status JobRun::Load() {
  if (is_loaded_) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<storage::JobState> jobs,
                   catalog_.Read([](storage::Snapshot& snapshot) { return snapshot.ListJobs(); }));
  for (const storage::JobState& job : jobs) {
    if (job.name == state_.name) state_ = job;
  }
  is_loaded_ = true;
  if (state_.last_success_time)
    metrics_.last_success.With({state_.name}).Set(SecondsSinceEpoch(*state_.last_success_time));
  return absl::OkStatus();
}

absl::Status JobRun::RunSteps(const std::stop_token& token, Outcome& outcome) {
  const int64_t budget = std::clamp<int64_t>(schedule_.items_per_second, 1, kMaxBudget);
  while (!token.stop_requested()) {
    ASSIGN_OR_RETURN(Job::Progress progress, job_.Step(state_.cursor, budget, token));
    outcome.is_idle = progress.is_idle;
    outcome.detail = std::move(progress.detail);
    if (progress.is_idle) return absl::OkStatus();
    outcome.count += progress.count;
    state_.total_count += progress.count;
    state_.cursor = progress.is_done ? std::string() : std::move(progress.cursor);
    metrics_.items.With({state_.name}).Add(static_cast<double>(progress.count));
    if (progress.is_done) return progress.left;
    Save();
    WaitFor(token, absl::Seconds(1) * static_cast<double>(budget) /
                       static_cast<double>(std::max<int64_t>(schedule_.items_per_second, 1)));
  }
  return absl::OkStatus();
}

void JobRun::Note(const absl::Status& result, const Outcome& outcome) {
  const int64_t count = outcome.count;
  metrics_.runs.With({state_.name, result.ok() ? "ok" : "failed"}).Add();
  state_.last_error = std::string(result.message());
  if (result.ok()) {
    state_.last_success_time = clock_.Now();
    state_.last_count = count;
    metrics_.last_success.With({state_.name}).Set(SecondsSinceEpoch(*state_.last_success_time));
    LOG_IF(INFO, count > 0) << "job=" << state_.name << " outcome=OK count=" << count
                            << outcome.detail;
  } else {
    LOG(WARNING) << "job=" << state_.name << " outcome=ERROR count=" << count
                 << " error=" << result;
  }
  Save({job_.audit_action(), count, result});
}

// A job that cannot be noted down runs all the same: the sweep is what makes room on a full disk.
void JobRun::Save(const AuditedRun& run) {
  const absl::Status saved = catalog_.Run([&](storage::Transaction& transaction) -> absl::Status {
    if (IsTold(run)) RETURN_IF_ERROR(audit_(transaction, run));
    return transaction.SaveJob(state_);
  });
  LOG_IF(WARNING, !saved.ok()) << "cannot note how far job " << state_.name << " is: " << saved;
}

Runner::~Runner() {
  // They may still wake one another.
  std::map<std::string, Entry> ending;
  {
    MutexLock lock(mutex_);
    ending.swap(entries_);
  }
  ending.clear();
}

void Runner::Add(std::unique_ptr<Job> job, const Schedule& schedule) {
  std::string name(job->name());
  MutexLock lock(mutex_);
  entries_.try_emplace(std::move(name), std::move(job), schedule, catalog_, clock_, metrics_,
                       audit_);
}

void Runner::Wake(absl::string_view name) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(std::string(name));
  if (found != entries_.end()) found->second.task.Wake();
}

}  // namespace backup::jobs
