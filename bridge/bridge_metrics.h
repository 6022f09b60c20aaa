#pragma once

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/metrics.h"

namespace backup::bridge {

inline constexpr MetricName kConnections{"backup_bridge_connections", "Connections that are open"};
inline constexpr MetricName kConnectionsTotal{"backup_bridge_connections_total",
                                              "Connections accepted"};
inline constexpr MetricName kWrongProtocol{"backup_bridge_wrong_protocol_total",
                                           "Connections that spoke another protocol"};
inline constexpr MetricName kProtocolErrors{"backup_bridge_protocol_errors_total",
                                            "Requests that no dialect understands"};

// A request that was answered, for its metrics. All texts are from closed sets.
struct ServedRequest {
  absl::string_view request;
  absl::string_view dialect;
  absl::string_view result;  // "ok", or why not.
  uint64_t bytes = 0;        // Of its body.
  absl::Duration took;
};
// Nothing if `metrics` is null.
void CountRequest(Metrics* metrics, const ServedRequest& request);
void CountOne(Metrics* metrics, const MetricName& name, const Labels& labels);

}  // namespace backup::bridge
