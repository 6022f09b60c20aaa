#include "bridge/bridge_metrics.h"

#include "base/clock.h"

namespace backup::bridge {
namespace {

constexpr MetricName kConnections{"backup_bridge_connections",
                                  "Open connections, by what they wait for"};
constexpr MetricName kConnectionsTotal{"backup_bridge_connections_total", "Connections accepted"};
constexpr MetricName kConnectionsClosed{"backup_bridge_connections_closed_total",
                                        "Connections closed, by why"};
constexpr MetricName kBytes{"backup_bridge_bytes_total", "Bytes from and to old clients"};
constexpr MetricName kWrongProtocol{"backup_bridge_wrong_protocol_total",
                                    "Connections that spoke another protocol"};
constexpr MetricName kProtocolErrors{"backup_bridge_protocol_errors_total",
                                     "Requests that break the protocol's rules"};
constexpr MetricName kAdmissionRejected{"backup_admission_rejected_total",
                                        "What was turned away because there is too much of it"};
constexpr MetricName kAdmissionDelayed{"backup_admission_delayed_total",
                                       "Requests that waited because there are too many, by which"};
constexpr MetricName kOffences{"backup_bridge_offences_total",
                               "What no client of the protocol does, by kind"};
constexpr MetricName kBans{"backup_bridge_bans_total", "Bans that addresses earned here"};
constexpr MetricName kFaultsInjected{"backup_debug_faults_injected_total",
                                     "Wrong checksums answered on purpose"};
constexpr MetricName kSpoolBytes{"backup_bridge_spool_bytes",
                                 "Memory that keeps uploads so that they can be repeated"};
constexpr MetricName kWaitingBodies{"backup_bridge_waiting_bodies",
                                    "Large files that wait for a slot to go on"};
constexpr MetricName kRideThroughDuration{
    "backup_bridge_ride_through_seconds",
    "How long calls waited for a service that was unavailable"};
constexpr MetricName kRideThroughs{"backup_bridge_ride_through_total",
                                   "Calls that met an unavailable service, by what became of them"};
constexpr MetricName kAttemptsStarted{"grpc_client_attempt_started_total",
                                      "Calls to the service, each try counted, by method"};
constexpr MetricName kAttemptDuration{"grpc_client_attempt_duration_seconds",
                                      "How long these took, by method and outcome"};
constexpr MetricName kRequests{"backup_bridge_requests_total",
                               "Requests by kind, dialect and result"};
constexpr MetricName kLastRequest{
    "backup_bridge_last_request_timestamp_seconds",
    "When a dialect was last spoken: without it for long, its clients are gone"};
constexpr MetricName kDuration{"backup_bridge_request_duration_seconds", "How long requests took"};

}  // namespace

BridgeMetrics::BridgeMetrics(Metrics& metrics)
    : connections(metrics.AddGauges(kConnections, {"state"})),
      connections_total(metrics.AddCounter(kConnectionsTotal)),
      connections_closed(metrics.AddCounters(kConnectionsClosed, {"reason"})),
      wrong_protocol(metrics.AddCounters(kWrongProtocol, {"detected"})),
      protocol_errors(metrics.AddCounters(kProtocolErrors, {"kind"})),
      admission_rejected(metrics.AddCounters(kAdmissionRejected, {"reason"})),
      admission_delayed(metrics.AddCounters(kAdmissionDelayed, {"reason"})),
      offences(metrics.AddCounters(kOffences, {"kind"})),
      bans(metrics.AddCounter(kBans)),
      faults_injected(metrics.AddCounter(kFaultsInjected)),
      spool_bytes(metrics.AddGauge(kSpoolBytes)),
      waiting_bodies(metrics.AddGauge(kWaitingBodies)),
      ride_through_duration(metrics.AddHistogram(kRideThroughDuration)),
      ride_throughs(metrics.AddCounters(kRideThroughs, {"outcome"})),
      attempts_started(metrics.AddCounters(kAttemptsStarted, {"grpc_method"})),
      attempt_duration(metrics.AddHistograms(kAttemptDuration, {"grpc_method", "grpc_status"})),
      requests(metrics.AddCounters(kRequests, {"request", "dialect", "result"})),
      last_request(metrics.AddGauges(kLastRequest, {"dialect"})),
      request_duration(metrics.AddHistograms(kDuration, {"request"})) {
  const MetricFamily<Counter> bytes = metrics.AddCounters(kBytes, {"direction"});
  received_bytes = bytes.With({"in"});
  sent_bytes = bytes.With({"out"});
  // There from the start: the alert ClientsTurnedAway looks at how much they grow, and all that are
  // turned away may have come before they are read for the first time.
  for (const absl::string_view limit : {"connections_per_address", "requests_per_address",
                                        "registrations_per_address", "registrations"})
    admission_rejected.With({limit});
}

absl::string_view ReasonName(CloseReason reason) {
  switch (reason) {
    case CloseReason::kEof:
      return "eof";
    case CloseReason::kIdle:
      return "idle";
    case CloseReason::kHeaderTimeout:
      return "header_timeout";
    case CloseReason::kRate:
      return "rate";
    case CloseReason::kProtocol:
      return "protocol";
    case CloseReason::kLimit:
      return "limit";
    case CloseReason::kProxyHeader:
      return "proxy_header";
    case CloseReason::kDenied:
      return "denied";
    case CloseReason::kBanned:
      return "banned";
    case CloseReason::kAnswered:
      return "answered";
    case CloseReason::kDrain:
      return "drain";
    case CloseReason::kUpstream:
      return "upstream";
  }
  return "";
}

void CountRequest(const BridgeMetrics& metrics, const ServedRequest& request) {
  metrics.requests.With({request.request, request.dialect, request.result}).Add();
  metrics.last_request.With({request.dialect}).Set(SecondsSinceEpoch(SystemClock().Now()));
  metrics.request_duration.With({request.request}).Observe(request.took);
}

}  // namespace backup::bridge
