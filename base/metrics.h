#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
class Registry;
}  // namespace prometheus

namespace backup {

// What a metric is called and tells; one constant each. docs/operations.md lists them all, which
// .ci/check_metrics.py proves.
struct MetricName {
  const char* name;
  const char* help;
};

// From closed sets, or a client's id; never a name or a path.
using Labels = std::map<std::string, std::string>;

// Counters, gauges and histograms are handles, as cheap to copy as a pointer, of what a Metrics
// owns, which must outlive their use. One that was only default-constructed counts nothing. All of
// them are thread-safe; none takes a lock but Histogram.

// A number that only grows; 0 at the start of the process.
class Counter {
 public:
  Counter() = default;
  explicit Counter(prometheus::Counter& counter) : counter_(&counter) {}
  void Add(double by = 1) const;

 private:
  prometheus::Counter* counter_ = nullptr;
};

// A number that goes up and down.
class Gauge {
 public:
  Gauge() = default;
  explicit Gauge(prometheus::Gauge& gauge) : gauge_(&gauge) {}
  void Set(double value) const;
  void Add(double by) const;

 private:
  prometheus::Gauge* gauge_ = nullptr;
};

// How durations, in seconds, or sizes, in bytes, are spread.
class Histogram {
 public:
  enum class Unit { kSeconds, kBytes };

  Histogram() = default;
  explicit Histogram(prometheus::Histogram& histogram) : histogram_(&histogram) {}
  void Observe(absl::Duration duration) const;
  void ObserveBytes(int64_t size) const;

 private:
  prometheus::Histogram* histogram_ = nullptr;
};

// The metrics of one name with labels. A handle like the above.
template <typename Metric>
class MetricFamily {
 public:
  // More sets of values than this are counted as one, whose values are all "other": a label that
  // turns out not to be from a closed set does not fill the memory, here or in Prometheus.
  static constexpr size_t kMaxMembers = 500;

  MetricFamily() = default;
  // The one with these values, in the order of the labels; made when it is first asked for.
  Metric With(std::initializer_list<absl::string_view> values) const;

 private:
  friend class Metrics;
  struct State;
  explicit MetricFamily(State& state) : state_(&state) {}

  State* state_ = nullptr;
};

// The value of a gauge or counter at the moment it is asked for.
struct Sample {
  enum class Kind { kGauge, kCounter };
  MetricName name;
  Labels labels;
  double value = 0;
  Kind kind = Kind::kGauge;
};

// All metrics of a process. Each name is added once. Thread-safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  Counter AddCounter(const MetricName& name);
  MetricFamily<Counter> AddCounters(const MetricName& name, std::vector<std::string> labels);
  Gauge AddGauge(const MetricName& name);
  MetricFamily<Gauge> AddGauges(const MetricName& name, std::vector<std::string> labels);
  Histogram AddHistogram(const MetricName& name);
  MetricFamily<Histogram> AddHistograms(const MetricName& name, std::vector<std::string> labels,
                                        Histogram::Unit unit = Histogram::Unit::kSeconds);

  // `collect` is called whenever the metrics are asked for, on any thread, as long as this lives.
  void AddCollector(std::function<std::vector<Sample>()> collect);

  // Everything in Prometheus' text format.
  std::string Text() const;

 private:
  template <typename Metric>
  MetricFamily<Metric> AddFamily(std::vector<std::string> labels,
                                 std::function<Metric(const Labels&)> make);

  const std::unique_ptr<prometheus::Registry> registry_;
  mutable Mutex mutex_;
  std::vector<std::shared_ptr<void>> families_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::function<std::vector<Sample>()>> collectors_ ABSL_GUARDED_BY(mutex_);
};

// Counts as one in a gauge from construction to destruction.
class GaugeScope {
 public:
  explicit GaugeScope(Gauge gauge) : gauge_(gauge) { gauge_.Add(1); }
  ~GaugeScope() { gauge_.Add(-1); }
  GaugeScope(const GaugeScope&) = delete;
  GaugeScope& operator=(const GaugeScope&) = delete;

 private:
  const Gauge gauge_;
};

// For gauges of points in time.
double SecondsSinceEpoch(absl::Time time);

// Adds what tells about the process itself: start, descriptors, memory, processor time, a hash of
// `configuration`, and backup_build_info with version, commit and `libraries` (name to version) as
// labels.
void AddProcessMetrics(Metrics& metrics, const Labels& libraries, absl::string_view configuration);

// Adds backup_mode{mode}, 1 for each mode that is on.
MetricFamily<Gauge> AddModes(Metrics& metrics,
                             std::initializer_list<std::pair<absl::string_view, bool>> modes);

}  // namespace backup
