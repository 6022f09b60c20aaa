// backup-bench: starts a service and a bridge, measures uploads through both, and prints the
// figures beside what the machine can do at best.

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "gflags/gflags.h"
#include "glog/logging.h"
#include "tests/bench/figures.h"
#include "tests/bench/large_file.h"
#include "tests/bench/physical_limits.h"
#include "tests/bench/server_pair.h"
#include "tests/bench/session_load.h"

DEFINE_string(service_program, "", "backup-service; empty: the one beside this program");
DEFINE_string(bridge_program, "", "backup-bridge; empty: the one beside this program");
DEFINE_string(client_program, "", "legacy-client; empty: the one beside this program");
DEFINE_string(work_dir, "/var/tmp", "where the data goes for the time of the measurement");
DEFINE_int32(file_mebibytes, 200, "size of the large file");
DEFINE_int32(runs, 5, "how often the large file is sent");
DEFINE_int32(clients, 16, "how many clients play sessions at once");
DEFINE_int32(seconds, 5, "how long they do");
DEFINE_bool(json, false, "print one JSON object a figure instead of the table");

namespace backup::bench {
namespace {

constexpr int kFailed = 1;

// The targets are those of docs/performance.md.
constexpr Target kShareOfSlowestStage = {Bound::kAtLeast, 80};
constexpr Target kLargeFileMegabytesPerSecond = {Bound::kAtLeast, 700};
constexpr Target kServerCpuPerGibibyte = {Bound::kAtMost, 1.5};
constexpr Target kSessionsPerSecond = {Bound::kAtLeast, 3000};
constexpr Target kRequestP99Milliseconds = {Bound::kAtMost, 50};
constexpr Target kBridgeMebibytes = {Bound::kAtMost, 256};
constexpr Target kServiceMebibytes = {Bound::kAtMost, 512};

bool ValidatePositive(const char* flag, int32_t value) {
  if (value > 0) return true;
  std::cerr << "--" << flag << " must be above 0\n";
  return false;
}
DEFINE_validator(file_mebibytes, &ValidatePositive);
DEFINE_validator(runs, &ValidatePositive);
DEFINE_validator(clients, &ValidatePositive);
DEFINE_validator(seconds, &ValidatePositive);

std::string ProgramOr(const std::string& flag, absl::string_view name) {
  if (!flag.empty()) return flag;
  return absl::StrCat(std::filesystem::read_symlink("/proc/self/exe").parent_path().string(), "/",
                      name);
}

void AddLimits(const PhysicalLimits& limits, std::vector<Figure>& figures) {
  const std::string group = "physical limits, now";
  figures.push_back(
      {group, "AES-128-CBC encryption, one core", limits.cbc_encrypt_mb_per_second, "MB/s", {}});
  figures.push_back({group,
                     "disk, 1 MiB O_DIRECT writes and fdatasync",
                     limits.disk_write_mb_per_second,
                     "MB/s",
                     {}});
  figures.push_back({group, "disk, fsyncs of 1 KiB", limits.fsyncs_per_second, "/s", {}});
}

void AddLargeFile(const LargeFileResult& result, const PhysicalLimits& limits,
                  std::vector<Figure>& figures) {
  const std::string group = absl::StrCat("one file of ", FLAGS_file_mebibytes, " MiB, ", FLAGS_runs,
                                         " runs, until acknowledged");
  const double slowest =
      std::min(limits.cbc_encrypt_mb_per_second, limits.disk_write_mb_per_second);
  const double server_cpu = result.cpu.service_seconds + result.cpu.bridge_seconds;
  figures.push_back({group, "speed, best", result.best_mb_per_second, "MB/s", {}});
  figures.push_back(
      {group, "speed, median", result.median_mb_per_second, "MB/s", kLargeFileMegabytesPerSecond});
  figures.push_back({group, "median against the slowest stage above",
                     100 * result.median_mb_per_second / slowest, "%", kShareOfSlowestStage});
  figures.push_back({group, "CPU, bridge and service", server_cpu / result.gibibytes, "s/GiB",
                     kServerCpuPerGibibyte});
  figures.push_back(
      {group, "CPU, bridge", result.cpu.bridge_seconds / result.gibibytes, "s/GiB", {}});
  figures.push_back(
      {group, "CPU, service", result.cpu.service_seconds / result.gibibytes, "s/GiB", {}});
  figures.push_back(
      {group, "CPU, client", result.client_cpu_seconds / result.gibibytes, "s/GiB", {}});
}

void AddSessions(const SessionLoadResult& result, const PhysicalLimits& limits,
                 std::vector<Figure>& figures) {
  const std::string group = absl::StrCat("whole sessions with a file of 1 KiB, ", FLAGS_clients,
                                         " clients, ", FLAGS_seconds, " s");
  figures.push_back({group, "sessions", result.sessions_per_second, "/s", kSessionsPerSecond});
  figures.push_back({group,
                     "sessions against fsyncs",
                     100 * result.sessions_per_second / limits.fsyncs_per_second,
                     "%",
                     {}});
  figures.push_back({group, "one request, p50", result.p50_milliseconds, "ms", {}});
  figures.push_back(
      {group, "one request, p99", result.p99_milliseconds, "ms", kRequestP99Milliseconds});
  figures.push_back({group, "CPU, bridge", result.cpu.bridge_seconds, "s", {}});
  figures.push_back({group, "CPU, service", result.cpu.service_seconds, "s", {}});
  figures.push_back({group, "CPU, clients", result.client_cpu_seconds, "s", {}});
}

void AddMemory(const ServerPair& servers, std::vector<Figure>& figures) {
  const std::string group = "peak resident memory";
  figures.push_back(
      {group, "bridge", servers.bridge.PeakResidentMebibytes(), "MiB", kBridgeMebibytes});
  figures.push_back(
      {group, "service", servers.service.PeakResidentMebibytes(), "MiB", kServiceMebibytes});
}

absl::StatusOr<std::vector<Figure>> MeasureIn(const std::string& dir) {
  const Programs programs = {ProgramOr(FLAGS_service_program, "backup-service"),
                             ProgramOr(FLAGS_bridge_program, "backup-bridge"),
                             ProgramOr(FLAGS_client_program, "legacy-client")};
  const int64_t file_size = int64_t{FLAGS_file_mebibytes} << 20;
  const std::string client_dir = absl::StrCat(dir, "/client");
  std::filesystem::create_directory(client_dir);

  std::vector<Figure> figures;
  ASSIGN_OR_RETURN(const PhysicalLimits limits, MeasurePhysicalLimits(dir, file_size));
  AddLimits(limits, figures);
  ASSIGN_OR_RETURN(const std::unique_ptr<ServerPair> servers, ServerPair::Start(programs, dir));
  ASSIGN_OR_RETURN(const LargeFileResult large_file,
                   MeasureLargeFile(*servers, programs.client, client_dir, file_size, FLAGS_runs));
  AddLargeFile(large_file, limits, figures);
  ASSIGN_OR_RETURN(const SessionLoadResult sessions,
                   MeasureSessionLoad(*servers, FLAGS_clients, absl::Seconds(FLAGS_seconds)));
  AddSessions(sessions, limits, figures);
  AddMemory(*servers, figures);
  return figures;
}

int Main(int argc, char** argv) {
  gflags::SetUsageMessage("backup-bench [--file_mebibytes=N] [--clients=N] ...");
  gflags::SetVersionString(BACKUP_VERSION);
  FLAGS_logtostderr = true;
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  google::InitGoogleLogging(argv[0]);
  std::string dir = absl::StrCat(FLAGS_work_dir, "/backup-bench.XXXXXX");
  if (mkdtemp(dir.data()) == nullptr) {
    std::cerr << "backup-bench: cannot make a folder in " << FLAGS_work_dir << "\n";
    return kFailed;
  }
  absl::Cleanup remove = [&dir] { std::filesystem::remove_all(dir); };
  const absl::StatusOr<std::vector<Figure>> figures = MeasureIn(dir);
  if (!figures.ok()) {
    std::move(remove).Cancel();
    std::cerr << "backup-bench: " << figures.status().message() << "; logs are in " << dir << "\n";
    return kFailed;
  }
  std::cout << (FLAGS_json ? ToJsonLines(*figures) : ToTable(*figures));
  return 0;
}

}  // namespace
}  // namespace backup::bench

int main(int argc, char** argv) { return backup::bench::Main(argc, argv); }
