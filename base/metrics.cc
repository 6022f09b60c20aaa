#include "base/metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/time/clock.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"

namespace backup {
namespace {

constexpr MetricName kBuildInfo{"backup_build_info", "1, with the version as a label"};
constexpr MetricName kStartTime{"backup_start_time_seconds", "When the process started"};
constexpr MetricName kOpenFds{"backup_open_fds", "Open file descriptors"};
constexpr MetricName kMaxFds{"backup_max_fds", "How many file descriptors may be open"};
constexpr MetricName kMemory{"process_resident_memory_bytes", "Memory in use"};
constexpr MetricName kProcessor{"process_cpu_seconds", "Processor time used so far"};

// From a call that touches no disk to the largest upload over a slow line.
const prometheus::Histogram::BucketBoundaries kSeconds = {0.001, 0.005, 0.02, 0.1, 0.5,
                                                          2,     10,    60,   600, 3600};

double OpenDescriptors() {
  std::error_code ignored;
  const std::filesystem::directory_iterator open("/proc/self/fd", ignored);
  return static_cast<double>(std::distance(begin(open), end(open)));
}

double ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  file >> total >> resident;
  return static_cast<double>(resident * ::sysconf(_SC_PAGESIZE));
}

double ProcessorSeconds() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return absl::ToDoubleSeconds(absl::DurationFromTimeval(usage.ru_utime) +
                               absl::DurationFromTimeval(usage.ru_stime));
}

}  // namespace

Metrics::Metrics() : registry_(std::make_unique<prometheus::Registry>()) {}
Metrics::~Metrics() = default;

void Metrics::Count(const MetricName& name, const Labels& labels, double by) {
  prometheus::BuildCounter()
      .Name(name.name)
      .Help(name.help)
      .Register(*registry_)
      .Add(labels)
      .Increment(by);
}

void Metrics::SetGauge(const MetricName& name, const Labels& labels, double value) {
  prometheus::BuildGauge()
      .Name(name.name)
      .Help(name.help)
      .Register(*registry_)
      .Add(labels)
      .Set(value);
}

void Metrics::AddToGauge(const MetricName& name, const Labels& labels, double by) {
  prometheus::BuildGauge()
      .Name(name.name)
      .Help(name.help)
      .Register(*registry_)
      .Add(labels)
      .Increment(by);
}

void Metrics::Observe(const MetricName& name, const Labels& labels, absl::Duration duration) {
  prometheus::BuildHistogram()
      .Name(name.name)
      .Help(name.help)
      .Register(*registry_)
      .Add(labels, kSeconds)
      .Observe(absl::ToDoubleSeconds(duration));
}

void Metrics::AddCollector(std::function<std::vector<GaugeSample>()> collect) {
  MutexLock lock(mutex_);
  collectors_.push_back(std::move(collect));
}

std::string Metrics::Text() const {
  std::vector<std::function<std::vector<GaugeSample>()>> collectors;
  {
    MutexLock lock(mutex_);
    collectors = collectors_;
  }
  std::map<std::string, prometheus::MetricFamily> sampled;
  for (const auto& collect : collectors) {
    for (const GaugeSample& sample : collect()) {
      prometheus::MetricFamily& family = sampled[sample.name.name];
      family.name = sample.name.name;
      family.help = sample.name.help;
      family.type = prometheus::MetricType::Gauge;
      prometheus::ClientMetric& metric = family.metric.emplace_back();
      for (const auto& [label, value] : sample.labels) metric.label.push_back({label, value});
      metric.gauge.value = sample.value;
    }
  }
  std::vector<prometheus::MetricFamily> families = registry_->Collect();
  for (auto& [name, family] : sampled) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

void AddProcessMetrics(Metrics& metrics) {
  metrics.SetGauge(kBuildInfo, {{"version", BACKUP_VERSION}}, 1);
  metrics.SetGauge(kStartTime, {}, absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()));
  metrics.AddCollector([] {
    rlimit limit = {};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return std::vector<GaugeSample>{{kOpenFds, {}, OpenDescriptors()},
                                    {kMaxFds, {}, static_cast<double>(limit.rlim_cur)},
                                    {kMemory, {}, ResidentBytes()},
                                    {kProcessor, {}, ProcessorSeconds()}};
  });
}

}  // namespace backup
