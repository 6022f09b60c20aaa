#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/metrics.h"
#include "base/readiness.h"
#include "grpcpp/channel.h"
#include "storage/catalog.h"

namespace backup {

// A call that has ended, for its metrics. `rpc` and `outcome` are from closed sets.
struct EndedCall {
  absl::string_view rpc;
  absl::string_view outcome;  // "OK", or the reason of the error.
  // What a client made of a file (VERIFIED, RETRYING, ABANDONED); else empty.
  absl::string_view verdict;
  int64_t bytes = 0;
  absl::Duration took;
};
void CountCall(Metrics& metrics, const EndedCall& call);

// Calls that are being answered.
inline constexpr MetricName kCallsInFlight{"grpc_server_calls_in_flight",
                                           "Calls that are being answered"};

// What the state is like: clients, versions, room. At most `max_clients` clients have series of
// their own; backup_metrics_dropped_series counts the others.
std::vector<GaugeSample> SampleState(storage::Catalog& catalog, const std::string& data_dir,
                                     int64_t max_clients);

// What the service needs: a writable catalog, a writable folder with room in it, and that a call
// through its own listener, by way of `channel`, is answered.
std::vector<Probe> ServiceProbes(storage::Catalog& catalog, const std::string& data_dir,
                                 std::shared_ptr<grpc::Channel> channel);

}  // namespace backup
