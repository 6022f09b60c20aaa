#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/metrics.h"

namespace backup {

// What the service counts. Default-constructed: nothing. Thread-safe.
struct ServiceMetrics {
  ServiceMetrics() = default;
  // `metrics` must outlive the use of this.
  explicit ServiceMetrics(Metrics& metrics);

  MetricFamily<Counter> calls_started;    // grpc_method.
  MetricFamily<Histogram> call_duration;  // grpc_method, grpc_status; so are the next two.
  MetricFamily<Histogram> call_received;
  MetricFamily<Histogram> call_sent;
  Gauge calls_in_flight;
  Gauge uploads_in_progress;
  MetricFamily<Histogram> upload_duration;  // phase: receive, decrypt, fsync, commit.
  MetricFamily<Counter> uploads;            // source, result, reason.
  MetricFamily<Counter> upload_bytes;       // source.
  MetricFamily<Counter> upload_contents;    // kept: known, raw, compressed.
  Counter upload_stored;
  Counter resends;
  MetricFamily<Counter> crypto_failures;  // stage: content, public_key, session_key, stored.
  MetricFamily<Counter> rekeys;           // result: accepted, refused.
  Counter clients_adopted;
  Counter clients_returned;
  MetricFamily<Counter> admission_rejected;  // reason: catalog, descriptors, watchers.
  Counter faults_injected;
};

// A call that has ended. The texts are from closed sets.
struct EndedCall {
  absl::string_view rpc;
  absl::Status outcome;
  bool cancelled = false;  // By the caller, or because it moved nothing.
  // What a client made of a file (VERIFIED, RETRYING, ABANDONED), unless it had said so before;
  // else empty.
  absl::string_view verdict = "";
  bool from_old_client = false;    // By way of the bridge.
  bool checksum_is_wrong = false;  // On purpose.
  int64_t bytes = 0;               // Of content.
  int64_t received = 0;            // Of messages.
  int64_t sent = 0;
  absl::Duration took = absl::ZeroDuration();
};
void CountCall(const ServiceMetrics& metrics, const EndedCall& call);

// "OK", the error's reason, or "ERROR".
absl::string_view OutcomeName(const absl::Status& status);

}  // namespace backup
