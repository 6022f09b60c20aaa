#include "base/readiness.h"

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

namespace backup {
namespace {

constexpr MetricName kSuccess{"backup_self_probe_success",
                              "1 if what the process needs worked when it was last tried"};
constexpr MetricName kDuration{"backup_self_probe_duration_seconds", "How long the last try took"};

// A round that takes longer than this hangs.
constexpr std::chrono::seconds kLongestRound(30);

}  // namespace

Readiness::Readiness(std::vector<Probe> probes, absl::Duration interval, Metrics& metrics)
    : probes_(std::move(probes)),
      interval_(interval),
      success_(metrics.AddGauges(kSuccess, {"probe"})),
      duration_(metrics.AddGauges(kDuration, {"probe"})),
      before_(probes_.size()),
      rounds_(
          interval, [this](const std::stop_token&) { RunProbes(); },
          PeriodicTask::FirstRun::kAtOnce) {}

void Readiness::RunProbes() {
  std::vector<absl::Status> results;
  for (size_t i = 0; i < probes_.size(); ++i) {
    results.push_back(Run(probes_[i]));
    if (before_[i].code() == results[i].code() || draining()) continue;
    const bool is_note = probes_[i].kind == Probe::Kind::kNote;
    LOG_IF(WARNING, !results[i].ok()) << (is_note ? "ready all the same: " : "not ready: ")
                                      << probes_[i].name << ": " << results[i].message();
    LOG_IF(INFO, results[i].ok()) << (is_note ? "works again: " : "ready again: ")
                                  << probes_[i].name;
  }
  before_ = results;
  MutexLock lock(mutex_);
  results_ = std::move(results);
  checked_ = std::chrono::steady_clock::now();
}

absl::Status Readiness::Run(const Probe& probe) const {
  const auto begin = std::chrono::steady_clock::now();
  absl::Status result = probe.run();
  success_.With({probe.name}).Set(result.ok() ? 1 : 0);
  duration_.With({probe.name})
      .Set(absl::ToDoubleSeconds(absl::FromChrono(std::chrono::steady_clock::now() - begin)));
  return result;
}

bool Readiness::draining() const {
  MutexLock lock(mutex_);
  return draining_;
}

Readiness::Report Readiness::Check() const {
  MutexLock lock(mutex_);
  Report report;
  report.ready = !results_.empty() && !draining_;
  if (draining_) report.text = "draining\n";
  if (results_.empty()) report.text += "starting\n";
  for (size_t i = 0; i < results_.size(); ++i) {
    report.ready &= results_[i].ok() || probes_[i].kind == Probe::Kind::kNote;
    report.alive &= results_[i].ok() || probes_[i].kind != Probe::Kind::kVital;
    absl::StrAppend(&report.text, probes_[i].name, ": ",
                    results_[i].ok() ? "ok" : results_[i].message(), "\n");
  }
  const auto age = std::chrono::steady_clock::now() - checked_;
  if (!results_.empty() && age > absl::ToChronoNanoseconds(interval_) + kLongestRound) {
    report.ready = false;
    absl::StrAppend(&report.text, "the probes hang\n");
  }
  return report;
}

void Readiness::SetDraining() {
  MutexLock lock(mutex_);
  draining_ = true;
}

}  // namespace backup
