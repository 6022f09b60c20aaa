#include "tests/bench/server_pair.h"

#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status_macros.h"

namespace backup::bench {
namespace {

constexpr absl::Duration kStartTimeout = absl::Seconds(20);
constexpr absl::Duration kPollInterval = absl::Milliseconds(5);
constexpr absl::Duration kCheckTimeout = absl::Minutes(5);
constexpr absl::Duration kCheckPollInterval = absl::Milliseconds(100);
// Of the bridge: 10 000 idle ones and a few beside them.
constexpr int kMaxConnections = 11'000;

}  // namespace

absl::StatusOr<std::string> WaitForPort(ChildProcess& process, const std::string& path) {
  for (absl::Duration waited; waited < kStartTimeout; waited += kPollInterval) {
    std::ifstream file(path);
    std::string port;
    if (std::getline(file, port) && !port.empty()) return port;
    if (process.HasEnded()) break;
    absl::SleepFor(kPollInterval);
  }
  return absl::UnavailableError(absl::StrCat("no port in ", path, ": see the log beside it"));
}

absl::Status WaitForCatalogCheck(const std::string& dir) {
  for (absl::Duration waited; waited < kCheckTimeout; waited += kCheckPollInterval) {
    std::ifstream log(absl::StrCat(dir, "/service.log"));
    for (std::string line; std::getline(log, line);) {
      if (absl::StrContains(line, "the catalog was checked in")) return absl::OkStatus();
    }
    absl::SleepFor(kCheckPollInterval);
  }
  return absl::DeadlineExceededError("the service does not come to the end of its catalog's check");
}

absl::StatusOr<RunningService> RunningService::Start(const Programs& programs,
                                                     const std::string& dir,
                                                     const std::vector<std::string>& flags) {
  // As the packages have it where both are on one machine.
  const std::string address = absl::StrCat("unix:", dir, "/service.sock");
  const std::string port_path = absl::StrCat(dir, "/service.port");
  std::filesystem::remove(port_path);
  std::vector<std::string> args = {
      programs.service, absl::StrCat("--data_dir=", dir, "/data"),
      absl::StrCat("--listen=", address), absl::StrCat("--bound_port_file=", port_path),
      "--idle_shutdown=0s",
      // For WaitForCatalogCheck(): services/backup/jobs/catalog_check.cc.
      "--vmodule=catalog_check=1"};
  args.insert(args.end(), flags.begin(), flags.end());
  ASSIGN_OR_RETURN(ChildProcess process,
                   ChildProcess::Start(std::move(args), absl::StrCat(dir, "/service.out"),
                                       absl::StrCat(dir, "/service.log")));
  RETURN_IF_ERROR(WaitForPort(process, port_path).status());
  return RunningService{std::move(process), address};
}

absl::StatusOr<std::unique_ptr<ServerPair>> ServerPair::Start(
    const Programs& programs, const std::string& dir,
    const std::vector<std::string>& service_flags) {
  ASSIGN_OR_RETURN(RunningService service, RunningService::Start(programs, dir, service_flags));
  const std::string bridge_port_path = absl::StrCat(dir, "/bridge.port");
  std::filesystem::remove(bridge_port_path);
  ASSIGN_OR_RETURN(ChildProcess bridge,
                   ChildProcess::Start(
                       {programs.bridge, "--bind=127.0.0.1", "--port=0",
                        absl::StrCat("--service=", service.address),
                        absl::StrCat("--bound_port_file=", bridge_port_path), "--idle_shutdown=0s",
                        absl::StrCat("--max_connections=", kMaxConnections), "--idle_timeout=300s",
                        "--connections_per_address=0", "--requests_per_address=0",
                        "--registrations_per_address=0", "--registrations=0"},
                       absl::StrCat(dir, "/bridge.out"), absl::StrCat(dir, "/bridge.log")));
  ASSIGN_OR_RETURN(const std::string bridge_port, WaitForPort(bridge, bridge_port_path));
  return std::unique_ptr<ServerPair>(new ServerPair{std::move(service.process),
                                                    std::move(bridge),
                                                    service.address,
                                                    absl::StrCat(dir, "/data"),
                                                    {"127.0.0.1", bridge_port}});
}

ServerCpu CpuOf(const ServerPair& servers) {
  return {servers.service.CpuSeconds(), servers.bridge.CpuSeconds()};
}

ServerCpu operator-(const ServerCpu& end, const ServerCpu& start) {
  return {end.service_seconds - start.service_seconds, end.bridge_seconds - start.bridge_seconds};
}

ServerCpu operator+(const ServerCpu& one, const ServerCpu& other) {
  return {one.service_seconds + other.service_seconds, one.bridge_seconds + other.bridge_seconds};
}

}  // namespace backup::bench
