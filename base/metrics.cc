#include "base/metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/str_join.h"
#include "base/aligned_buffer.h"
#include "base/build_info.h"
#include "base/checksum.h"
#include "base/clock.h"
#include "glog/logging.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"

namespace backup {
namespace {

constexpr MetricName kBuildInfo{"backup_build_info",
                                "1; the labels tell version, commit and libraries"};
constexpr MetricName kConfigHash{"backup_config_hash", "Another number if the settings are others"};
constexpr MetricName kMode{"backup_mode", "1 if the mode is on"};
constexpr MetricName kStartTime{"backup_start_time_seconds", "When the process started"};
constexpr MetricName kOpenFds{"backup_open_fds", "Open file descriptors"};
constexpr MetricName kMaxFds{"backup_max_fds", "How many file descriptors may be open"};
constexpr MetricName kBufferBytes{"backup_buffer_bytes",
                                  "Buffers that content passes through: used, or idle in the pool"};
// Of these the names are Prometheus' own.
constexpr MetricName kProcessStart{"process_start_time_seconds", "When the process started"};
constexpr MetricName kProcessOpenFds{"process_open_fds", "Open file descriptors"};
constexpr MetricName kProcessMaxFds{"process_max_fds", "How many file descriptors may be open"};
constexpr MetricName kResidentMemory{"process_resident_memory_bytes", "Memory in use"};
constexpr MetricName kVirtualMemory{"process_virtual_memory_bytes", "Address space in use"};
constexpr MetricName kProcessor{"process_cpu_seconds_total", "Processor time used"};

// From a sync of a fast disk to the largest upload over a slow line.
const prometheus::Histogram::BucketBoundaries kSeconds = {0.0002, 0.001, 0.005, 0.02, 0.1, 0.5,
                                                          2,      10,    60,    600,  3600};
// From an empty message to the largest file.
const prometheus::Histogram::BucketBoundaries kBytes = {0,       1 << 10,  16 << 10, 256 << 10,
                                                        4 << 20, 64 << 20, 1 << 30,  16LL << 30};
constexpr char kOther[] = "other";
// Between values in the key of a member: no label has it.
constexpr char kSeparator[] = "\x1f";

double OpenDescriptors() {
  std::error_code ignored;
  const std::filesystem::directory_iterator open("/proc/self/fd", ignored);
  return static_cast<double>(std::distance(begin(open), end(open)));
}

struct Memory {
  double virtual_bytes = 0;
  double resident_bytes = 0;
};

Memory MemoryInUse() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  file >> total >> resident;
  const int64_t page = ::sysconf(_SC_PAGESIZE);
  return {static_cast<double>(total * page), static_cast<double>(resident * page)};
}

double ProcessorSeconds() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return absl::ToDoubleSeconds(absl::DurationFromTimeval(usage.ru_utime) +
                               absl::DurationFromTimeval(usage.ru_stime));
}

std::vector<Sample> SampleProcess(double start_time) {
  rlimit limit = {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const double open = OpenDescriptors();
  const double most = static_cast<double>(limit.rlim_cur);
  const Memory memory = MemoryInUse();
  const BufferBytes buffers = CountBufferBytes();
  return {{kStartTime, {}, start_time},
          {kProcessStart, {}, start_time},
          {kOpenFds, {}, open},
          {kProcessOpenFds, {}, open},
          {kMaxFds, {}, most},
          {kProcessMaxFds, {}, most},
          {kResidentMemory, {}, memory.resident_bytes},
          {kVirtualMemory, {}, memory.virtual_bytes},
          {kBufferBytes, {{"state", "used"}}, static_cast<double>(buffers.used)},
          {kBufferBytes, {{"state", "idle"}}, static_cast<double>(buffers.idle)},
          {kProcessor, {}, ProcessorSeconds(), Sample::Kind::kCounter}};
}

}  // namespace

void Counter::Add(double by) const {
  if (counter_ != nullptr) counter_->Increment(by);
}

void Gauge::Set(double value) const {
  if (gauge_ != nullptr) gauge_->Set(value);
}

void Gauge::Add(double by) const {
  if (gauge_ != nullptr) gauge_->Increment(by);
}

void Histogram::Observe(absl::Duration duration) const {
  if (histogram_ != nullptr) histogram_->Observe(absl::ToDoubleSeconds(duration));
}

void Histogram::ObserveBytes(int64_t size) const {
  if (histogram_ != nullptr) histogram_->Observe(static_cast<double>(size));
}

template <typename Metric>
struct MetricFamily<Metric>::State {
  std::vector<std::string> labels;
  std::function<Metric(const Labels&)> make;
  Mutex mutex;
  std::map<std::string, Metric> members ABSL_GUARDED_BY(mutex);
};

template <typename Metric>
Metric MetricFamily<Metric>::With(std::initializer_list<absl::string_view> values) const {
  if (state_ == nullptr) return Metric();
  CHECK_EQ(values.size(), state_->labels.size());
  const std::string key = absl::StrJoin(values, kSeparator);
  MutexLock lock(state_->mutex);
  const auto found = state_->members.find(key);
  if (found != state_->members.end()) return found->second;
  const bool full = state_->members.size() >= kMaxMembers;
  Labels labels;
  const absl::string_view* value = values.begin();
  for (const std::string& label : state_->labels)
    labels[label] = full ? kOther : std::string(*value++);
  const Metric member = state_->make(labels);
  if (!full) state_->members.emplace(key, member);
  return member;
}

template class MetricFamily<Counter>;
template class MetricFamily<Gauge>;
template class MetricFamily<Histogram>;

Metrics::Metrics() : registry_(std::make_unique<prometheus::Registry>()) {}
Metrics::~Metrics() = default;

template <typename Metric>
MetricFamily<Metric> Metrics::AddFamily(std::vector<std::string> labels,
                                        std::function<Metric(const Labels&)> make) {
  using State = typename MetricFamily<Metric>::State;
  auto state = std::make_shared<State>();
  state->labels = std::move(labels);
  state->make = std::move(make);
  MutexLock lock(mutex_);
  families_.push_back(state);
  return MetricFamily<Metric>(*state);
}

MetricFamily<Counter> Metrics::AddCounters(const MetricName& name,
                                           std::vector<std::string> labels) {
  auto& family = prometheus::BuildCounter().Name(name.name).Help(name.help).Register(*registry_);
  return AddFamily<Counter>(
      std::move(labels), [&family](const Labels& values) { return Counter(family.Add(values)); });
}

MetricFamily<Gauge> Metrics::AddGauges(const MetricName& name, std::vector<std::string> labels) {
  auto& family = prometheus::BuildGauge().Name(name.name).Help(name.help).Register(*registry_);
  return AddFamily<Gauge>(std::move(labels),
                          [&family](const Labels& values) { return Gauge(family.Add(values)); });
}

MetricFamily<Histogram> Metrics::AddHistograms(const MetricName& name,
                                               std::vector<std::string> labels,
                                               Histogram::Unit unit) {
  auto& family = prometheus::BuildHistogram().Name(name.name).Help(name.help).Register(*registry_);
  return AddFamily<Histogram>(std::move(labels), [&family, unit](const Labels& values) {
    return Histogram(family.Add(values, unit == Histogram::Unit::kSeconds ? kSeconds : kBytes));
  });
}

Counter Metrics::AddCounter(const MetricName& name) { return AddCounters(name, {}).With({}); }
Gauge Metrics::AddGauge(const MetricName& name) { return AddGauges(name, {}).With({}); }
Histogram Metrics::AddHistogram(const MetricName& name) { return AddHistograms(name, {}).With({}); }

void Metrics::AddCollector(std::function<std::vector<Sample>()> collect) {
  MutexLock lock(mutex_);
  collectors_.push_back(std::move(collect));
}

std::string Metrics::Text() const {
  std::vector<std::function<std::vector<Sample>()>> collectors;
  {
    MutexLock lock(mutex_);
    collectors = collectors_;
  }
  std::map<std::string, prometheus::MetricFamily> sampled;
  for (const auto& collect : collectors) {
    for (const Sample& sample : collect()) {
      const bool is_counter = sample.kind == Sample::Kind::kCounter;
      prometheus::MetricFamily& family = sampled[sample.name.name];
      family.name = sample.name.name;
      family.help = sample.name.help;
      family.type = is_counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
      prometheus::ClientMetric& metric = family.metric.emplace_back();
      for (const auto& [label, value] : sample.labels) metric.label.push_back({label, value});
      (is_counter ? metric.counter.value : metric.gauge.value) = sample.value;
    }
  }
  std::vector<prometheus::MetricFamily> families = registry_->Collect();
  for (auto& [name, family] : sampled) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

double SecondsSinceEpoch(absl::Time time) {
  return absl::ToDoubleSeconds(time - absl::UnixEpoch());
}

void AddProcessMetrics(Metrics& metrics, const Labels& libraries, absl::string_view configuration) {
  Labels build = libraries;
  build["version"] = BACKUP_VERSION;
  build["commit"] = std::string(BuildCommit());
  Crc32 hash;
  hash.Update(configuration);
  metrics.AddGauge(kConfigHash).Set(hash.Value());
  const double start_time = SecondsSinceEpoch(SystemClock().Now());
  metrics.AddCollector([build = std::move(build), start_time] {
    std::vector<Sample> samples = SampleProcess(start_time);
    samples.push_back({kBuildInfo, build, 1});
    return samples;
  });
}

MetricFamily<Gauge> AddModes(Metrics& metrics,
                             std::initializer_list<std::pair<absl::string_view, bool>> modes) {
  const MetricFamily<Gauge> family = metrics.AddGauges(kMode, {"mode"});
  for (const auto& [mode, on] : modes) family.With({mode}).Set(on ? 1 : 0);
  return family;
}

}  // namespace backup
