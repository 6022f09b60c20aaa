#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/metrics.h"
#include "base/readiness.h"

namespace backup {

// Serves /livez, /readyz, /drainz and /metrics over HTTP for whoever watches the process; on a
// thread of its own, so that a process whose other threads are busy still answers. Thread-safe.
class OperationsEndpoint {
 public:
  // Listens on `address`, ADDRESS:PORT or [ADDRESS]:PORT with port 0 for any free one; who connects
  // waits for an answer until Serve(). InvalidArgument if it is no address; otherwise the error
  // met.
  static absl::StatusOr<std::unique_ptr<OperationsEndpoint>> Open(const std::string& address);
  virtual ~OperationsEndpoint() = default;
  virtual int bound_port() const = 0;

  // What it tells about; all of it must outlive the endpoint.
  struct Sources {
    const Metrics& metrics;
    const Readiness& readiness;
    std::function<bool()> is_idle;  // Whether nothing is under way that a stop would disturb.
  };
  // Answers from now on. Once only.
  virtual void Serve(const Sources& sources) = 0;
};

// What watches a process and tells about it; both null if nobody is to be told.
struct Operations {
  std::unique_ptr<Readiness> readiness;
  std::unique_ptr<OperationsEndpoint> endpoint;

  // From now on /readyz says no: the process is about to end.
  void SetDraining() const;
};

// The endpoint of --operations_listen; null if `address` is empty. Open it before anybody is
// served, so that a port in use stops the start with nothing half-started.
absl::StatusOr<std::unique_ptr<OperationsEndpoint>> OpenOperations(const std::string& address);

// Probes, and serves on `endpoint`; does neither if it is null. What the probes and `is_idle` use,
// and `metrics`, must outlive the result.
Operations StartOperations(std::unique_ptr<OperationsEndpoint> endpoint, std::vector<Probe> probes,
                           std::function<bool()> is_idle, Metrics& metrics);

// Writes the port of `endpoint` to `path`, unless either is missing.
absl::Status WriteOperationsPort(const std::string& path, const OperationsEndpoint* endpoint);

}  // namespace backup
