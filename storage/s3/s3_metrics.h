#pragma once

#include "base/metrics.h"

namespace backup::storage::s3 {

// What is counted of requests. Default-constructed: nothing. Thread-safe.
struct S3Metrics {
  S3Metrics() = default;
  // `metrics` must outlive the use of this.
  explicit S3Metrics(Metrics& metrics);

  MetricFamily<Counter> tries;       // op, outcome: "ok", "refused", "busy", "failed".
  MetricFamily<Histogram> duration;  // op; of what was asked for, all its tries together.
  Gauge upload_bytes;                // Of parts in memory.
  Gauge read_ahead_bytes;
};

}  // namespace backup::storage::s3
