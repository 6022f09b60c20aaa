#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "legacy_client/transfer_info.h"
#include "tests/bench/child_process.h"

namespace backup::bench {

struct Programs {
  std::string service;
  std::string bridge;
  std::string client;
  std::string backupctl;
  std::string bare_echo;
};

// The port that `process` writes to `path`, once it listens. Unavailable if it does not.
absl::StatusOr<std::string> WaitForPort(ChildProcess& process, const std::string& path);

// Waits until the service that was started last in `dir` has checked its catalog, which it does at
// each start and in which it takes a quarter of a core. DeadlineExceeded if that takes minutes.
absl::Status WaitForCatalogCheck(const std::string& dir);

// A service on a Unix socket. Used by one thread at a time.
struct RunningService {
  ChildProcess process;
  std::string address;

  // Starts it with its state in `dir`/data and these flags besides, and returns when it listens.
  static absl::StatusOr<RunningService> Start(const Programs& programs, const std::string& dir,
                                              const std::vector<std::string>& flags = {});
};

// A service and a bridge in front of it on a free loopback port. Their logs are in the folder they
// were started in. Used by one thread at a time.
struct ServerPair {
  ChildProcess service;
  ChildProcess bridge;  // Ends first.
  std::string service_address;
  std::string data_dir;
  legacy_client::Endpoint bridge_address;

  // Starts both, with their state in the folder `dir`, empty or of another pair that has ended, and
  // these flags of the service besides; returns when both listen.
  static absl::StatusOr<std::unique_ptr<ServerPair>> Start(
      const Programs& programs, const std::string& dir,
      const std::vector<std::string>& service_flags = {});
};

// What both processes have used up to a moment.
struct ServerCpu {
  double service_seconds = 0;
  double bridge_seconds = 0;
};
ServerCpu CpuOf(const ServerPair& servers);
ServerCpu operator-(const ServerCpu& end, const ServerCpu& start);
ServerCpu operator+(const ServerCpu& one, const ServerCpu& other);

}  // namespace backup::bench
