#include "tests/bench/prepared_load.h"

#include <algorithm>
#include <deque>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "legacy_client/key_pair.h"
#include "tests/bench/prepared_file.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

// Does `work` with each file at once; the first error, if there is one.
absl::Status ForEachAtOnce(const std::deque<PreparedFile>& files,
                           absl::FunctionRef<absl::Status(const PreparedFile&)> work) {
  std::vector<absl::Status> statuses(files.size());
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < files.size(); ++i) {
      threads.emplace_back([&, i] { statuses[i] = work(files[i]); });
    }
  }
  for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PreparedLoadResult> MeasurePreparedLoad(const ServerPair& servers, int clients,
                                                       int64_t size, int runs, Known known) {
  const legacy_client::Endpoint& bridge = servers.bridge_address;
  const legacy_client::KeyPair key_pair = legacy_client::KeyPair::Generate();
  std::vector<KnownClient> introduced;
  for (int i = 0; i < clients; ++i) {
    ASSIGN_OR_RETURN(
        const KnownClient client,
        Introduce(bridge, absl::StrCat("bench of ", clients, " times ", size, ": ", i), key_pair));
    introduced.push_back(client);
  }
  const auto upload = [&](const PreparedFile& file) { return file.Upload(bridge); };
  std::deque<PreparedFile> files;  // What is sent again is the same object.
  PreparedLoadResult result;
  std::vector<double> speeds;
  const double bytes = static_cast<double>(size) * clients;
  for (int run = 0; run < runs; ++run) {
    if (known == Known::kNo) files.clear();
    if (files.empty()) {
      for (const KnownClient& client : introduced) files.emplace_back(client, "large", size);
      if (known == Known::kYes) RETURN_IF_ERROR(ForEachAtOnce(files, upload));
    }
    const double written_start = servers.service.WrittenMegabytes();
    const ServerCpu cpu_start = CpuOf(servers);
    const double own_cpu_start = OwnCpuSeconds();
    const auto start = MonotonicClock::now();
    RETURN_IF_ERROR(ForEachAtOnce(files, upload));
    speeds.push_back(bytes / kBytesPerMegabyte / SecondsSince(start));
    result.cpu = result.cpu + (CpuOf(servers) - cpu_start);
    result.client_cpu_seconds += OwnCpuSeconds() - own_cpu_start;
    result.written_megabytes += servers.service.WrittenMegabytes() - written_start;
  }
  for (const KnownClient& client : introduced) {
    RETURN_IF_ERROR(Delete(servers.service_address, client));
  }
  result.median_mb_per_second = Median(speeds);
  result.best_mb_per_second = *std::max_element(speeds.begin(), speeds.end());
  result.gibibytes = bytes * runs / kBytesPerGibibyte;
  return result;
}

}  // namespace backup::bench
