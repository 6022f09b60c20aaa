#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/metrics.h"
#include "base/readiness.h"

namespace backup {

// Serves /livez, /readyz and /metrics over HTTP for whoever watches the process; on a thread of its
// own, so that a process whose other threads are busy still answers. Thread-safe.
class OperationsEndpoint {
 public:
  // `address` is ADDRESS:PORT or [ADDRESS]:PORT with port 0 for any free one. Serves at once.
  // InvalidArgument if it is none; otherwise the error met. Both must outlive the endpoint.
  static absl::StatusOr<std::unique_ptr<OperationsEndpoint>> Start(const std::string& address,
                                                                   const Metrics& metrics,
                                                                   const Readiness& readiness);
  virtual ~OperationsEndpoint() = default;
  virtual int bound_port() const = 0;
};

// What watches a process and tells about it; both null if nobody is to be told.
struct Operations {
  std::unique_ptr<Readiness> readiness;
  std::unique_ptr<OperationsEndpoint> endpoint;
};

// Probes, and serves on `address`; does neither if it is empty. Writes the bound port to
// `bound_port_file` unless that is empty. What the probes use and `metrics` must outlive the
// result.
absl::StatusOr<Operations> StartOperations(const std::string& address,
                                           const std::string& bound_port_file,
                                           std::vector<Probe> probes, Metrics& metrics);

}  // namespace backup
