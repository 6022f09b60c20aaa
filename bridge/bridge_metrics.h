#pragma once

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/metrics.h"

namespace backup::bridge {

// Why a connection was closed.
enum class CloseReason {
  kEof,            // The client was done, or gone.
  kIdle,           // It asked for nothing for too long.
  kHeaderTimeout,  // A head did not become whole in time.
  kRate,           // It sent a body, or took an answer, too slowly.
  kProtocol,       // It broke a rule, or speaks another protocol.
  kLimit,          // There are too many connections, or it did something too often or too much.
  kProxyHeader,    // It came from a balancer, and began with no PROXY header, or a wrong one.
  kDenied,         // It is of a network that may not connect.
  kBanned,         // Its address is banned.
  kAnswered,       // Its kind waits for the end of the connection after an answer.
  kDrain,          // The process ends.
  kUpstream,       // The service could not tell how the client speaks.
};

// What the bridge counts. Default-constructed: nothing. Thread-safe.
struct BridgeMetrics {
  BridgeMetrics() = default;
  // `metrics` must outlive the use of this.
  explicit BridgeMetrics(Metrics& metrics);

  MetricFamily<Gauge> connections;  // state: waiting, throttled, served, lingering.
  Counter connections_total;
  MetricFamily<Counter> connections_closed;  // reason.
  Counter received_bytes;
  Counter sent_bytes;
  MetricFamily<Counter> wrong_protocol;      // detected: http1, http2, tls.
  MetricFamily<Counter> protocol_errors;     // kind.
  MetricFamily<Counter> admission_rejected;  // reason: connections, descriptors,
                                             // connections_per_address, banned, or an
                                             // Admission's limit.
  MetricFamily<Counter> admission_delayed;   // reason: an Admission's limit.
  MetricFamily<Counter> offences;            // kind: OffenceName().
  Counter bans;                              // Those that were earned here.
  Counter faults_injected;
  Gauge spool_bytes;
  Gauge waiting_bodies;
  Histogram ride_through_duration;
  MetricFamily<Counter> ride_throughs;       // outcome: recovered, gave_up, not_repeatable.
  MetricFamily<Counter> attempts_started;    // grpc_method.
  MetricFamily<Histogram> attempt_duration;  // grpc_method, grpc_status.

  MetricFamily<Counter> requests;            // request, dialect, result.
  MetricFamily<Gauge> last_request;          // dialect.
  MetricFamily<Histogram> request_duration;  // request.
};

// The value of label `reason`.
absl::string_view ReasonName(CloseReason reason);

// A request that was answered. All texts are from closed sets.
struct ServedRequest {
  absl::string_view request;
  absl::string_view dialect;
  absl::string_view result;  // "ok", or why not.
  absl::Duration took;
};
void CountRequest(const BridgeMetrics& metrics, const ServedRequest& request);

}  // namespace backup::bridge
