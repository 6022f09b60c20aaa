#include "bridge/bridge_metrics.h"

#include "absl/time/clock.h"

namespace backup::bridge {
namespace {

constexpr MetricName kRequests{"backup_bridge_requests_total",
                               "Requests by kind, dialect and result"};
constexpr MetricName kLastRequest{
    "backup_bridge_last_request_timestamp_seconds",
    "When a dialect was last spoken: without it for long, its clients are gone"};
constexpr MetricName kDuration{"backup_bridge_request_duration_seconds", "How long requests took"};
constexpr MetricName kBytes{"backup_bridge_bytes_total", "Bytes of bodies of requests"};

}  // namespace

void CountRequest(Metrics* metrics, const ServedRequest& request) {
  if (metrics == nullptr) return;
  const std::string kind(request.request);
  const std::string dialect(request.dialect);
  metrics->Count(
      kRequests,
      {{"request", kind}, {"dialect", dialect}, {"result", std::string(request.result)}});
  metrics->SetGauge(kLastRequest, {{"dialect", dialect}},
                    absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()));
  metrics->Observe(kDuration, {{"request", kind}}, request.took);
  metrics->Count(kBytes, {{"direction", "in"}}, static_cast<double>(request.bytes));
}

void CountOne(Metrics* metrics, const MetricName& name, const Labels& labels) {
  if (metrics != nullptr) metrics->Count(name, labels);
}

}  // namespace backup::bridge
