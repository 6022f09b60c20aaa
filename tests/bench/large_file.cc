#include "tests/bench/large_file.h"

#include <algorithm>
#include <fstream>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "tests/bench/endless_content.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

// Bytes that nothing on the way can make shorter, and that were not sent before.
void WriteNewFile(const std::string& path, int64_t size) {
  EndlessContent content(EndlessContent::NewNumber());
  std::ofstream file(path, std::ios::binary);
  for (int64_t left = size; left > 0; left -= EndlessContent::kPieceSize)
    file << content.Next().substr(0, static_cast<size_t>(left));
}

void WriteTransferInfo(const std::string& dir, const legacy_client::Endpoint& server,
                       absl::string_view file) {
  std::ofstream(absl::StrCat(dir, "/transfer.info")) << server.host << ":" << server.port << "\n"
                                                     << kLargeFileClient << "\n"
                                                     << file << "\n";
}

// One run of the client with one file; returns how long the file took and adds to `cpu_seconds`.
absl::StatusOr<double> RunClient(const std::string& program, const std::string& dir,
                                 double& cpu_seconds) {
  const std::string out_path = absl::StrCat(dir, "/client.out");
  const std::string log_path = absl::StrCat(dir, "/client.log");
  ASSIGN_OR_RETURN(
      ChildProcess client,
      ChildProcess::Start({program, absl::StrCat("--dir=", dir), "--json"}, out_path, log_path));
  double run_cpu_seconds = 0;
  const int exit_code = client.WaitForEnd(&run_cpu_seconds);
  std::string line;
  std::ifstream out(out_path);
  std::getline(out, line);
  if (exit_code != 0) {
    return absl::InternalError(absl::StrCat("legacy-client ended with ", exit_code, ": ", line));
  }
  cpu_seconds += run_cpu_seconds;
  return nlohmann::json::parse(line).at("seconds").get<double>();
}

}  // namespace

absl::StatusOr<LargeFileResult> MeasureLargeFile(const ServerPair& servers,
                                                 const std::string& client_program,
                                                 const std::string& dir, int64_t size, int runs) {
  double ignored_cpu_seconds = 0;
  std::ofstream(absl::StrCat(dir, "/small")) << "registers the client before the clock starts";
  WriteTransferInfo(dir, servers.bridge_address, "small");
  RETURN_IF_ERROR(RunClient(client_program, dir, ignored_cpu_seconds).status());
  WriteTransferInfo(dir, servers.bridge_address, "large");

  LargeFileResult result;
  const ServerCpu start = CpuOf(servers);
  std::vector<double> speeds;
  for (int run = 0; run < runs; ++run) {
    WriteNewFile(absl::StrCat(dir, "/large"), size);
    ASSIGN_OR_RETURN(const double seconds,
                     RunClient(client_program, dir, result.client_cpu_seconds));
    speeds.push_back(static_cast<double>(size) / kBytesPerMegabyte / seconds);
  }
  result.cpu = CpuOf(servers) - start;
  std::sort(speeds.begin(), speeds.end());
  result.best_mb_per_second = speeds.back();
  result.median_mb_per_second = speeds[speeds.size() / 2];
  result.gibibytes = static_cast<double>(size) * runs / kBytesPerGibibyte;
  return result;
}

}  // namespace backup::bench
