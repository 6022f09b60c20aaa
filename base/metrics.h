#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace prometheus {
class Registry;
}

namespace backup {

// What a metric is called and tells; one constant each.
struct MetricName {
  const char* name;
  const char* help;
};

// From closed sets, or a client's id; never a name or a path.
using Labels = std::map<std::string, std::string>;

// The value of a gauge at the moment it is asked for.
struct GaugeSample {
  MetricName name;
  Labels labels;
  double value = 0;
};

// All metrics of a process. Thread-safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  // Counters only grow; gauges that are counted up and down belong into a scope object; a duration
  // goes into a histogram of seconds.
  void Count(const MetricName& name, const Labels& labels, double by = 1);
  void SetGauge(const MetricName& name, const Labels& labels, double value);
  void AddToGauge(const MetricName& name, const Labels& labels, double by);
  void Observe(const MetricName& name, const Labels& labels, absl::Duration duration);

  // `collect` is called whenever the metrics are asked for, on any thread, as long as this lives.
  void AddCollector(std::function<std::vector<GaugeSample>()> collect);

  // Everything in Prometheus' text format.
  std::string Text() const;

 private:
  const std::unique_ptr<prometheus::Registry> registry_;
  mutable Mutex mutex_;
  std::vector<std::function<std::vector<GaugeSample>()>> collectors_ ABSL_GUARDED_BY(mutex_);
};

// Counts as one in a gauge from construction to destruction.
class GaugeScope {
 public:
  // Nothing is counted if `metrics` is null; else it must outlive this.
  GaugeScope(Metrics* metrics, const MetricName& name) : metrics_(metrics), name_(name) {
    if (metrics_ != nullptr) metrics_->AddToGauge(name_, {}, 1);
  }
  ~GaugeScope() {
    if (metrics_ != nullptr) metrics_->AddToGauge(name_, {}, -1);
  }
  GaugeScope(const GaugeScope&) = delete;
  GaugeScope& operator=(const GaugeScope&) = delete;

 private:
  Metrics* const metrics_;
  const MetricName name_;
};

// Adds what tells about the process itself: version, start, descriptors, memory, processor time.
void AddProcessMetrics(Metrics& metrics);

}  // namespace backup
