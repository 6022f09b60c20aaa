#include "tests/bench/crowd.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "legacy_client/legacy_socket.h"
#include "tests/bench/endless_content.h"
#include "tests/bench/prepared_file.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

using legacy_client::LegacySocket;

constexpr absl::Duration kTimeout = absl::Seconds(30);
constexpr absl::Duration kReleaseTimeout = absl::Seconds(60);
constexpr absl::Duration kPollInterval = absl::Milliseconds(20);
constexpr size_t kSlowPiece = 16 << 10;
constexpr int kSenders = 8;
// As many as anybody may upload one after the other while sessions are measured.
constexpr int kFairnessFiles = 6;

absl::StatusOr<std::vector<LegacySocket>> ConnectAll(const ServerPair& servers, int count) {
  std::vector<LegacySocket> sockets;
  sockets.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(LegacySocket socket, LegacySocket::Connect(servers.bridge_address, kTimeout));
    sockets.push_back(std::move(socket));
  }
  return sockets;
}

Resident ResidentOf(const ServerPair& servers) {
  return {servers.service.ResidentMebibytes(), servers.bridge.ResidentMebibytes()};
}

void Raise(Resident& most, const Resident& now) {
  most.service_mebibytes = std::max(most.service_mebibytes, now.service_mebibytes);
  most.bridge_mebibytes = std::max(most.bridge_mebibytes, now.bridge_mebibytes);
}

ptrdiff_t CountParts(const ServerPair& servers) {
  const std::filesystem::directory_iterator parts(absl::StrCat(servers.data_dir, "/store/tmp"));
  return std::distance(begin(parts), end(parts));
}

// Sends a little on each of its connections in turn until `end`; the bytes sent.
absl::StatusOr<int64_t> SendInTurn(std::span<LegacySocket> sockets,
                                   MonotonicClock::time_point end) {
  std::vector<EndlessContent> contents;
  for (size_t i = 0; i < sockets.size(); ++i) contents.emplace_back(EndlessContent::NewNumber());
  int64_t sent = 0;
  while (MonotonicClock::now() < end) {
    for (size_t i = 0; i < sockets.size(); ++i) {
      RETURN_IF_ERROR(sockets[i].Write(contents[i].Next().substr(0, kSlowPiece)));
      sent += static_cast<int64_t>(kSlowPiece);
    }
  }
  return sent;
}

absl::Status BeginUploads(const ServerPair& servers, int64_t size,
                          std::vector<LegacySocket>& sockets) {
  const auto key_pair = legacy_client::KeyPair::Generate();
  ASSIGN_OR_RETURN(const KnownClient client,
                   Introduce(servers.bridge_address, "bench slow crowd", key_pair));
  for (size_t i = 0; i < sockets.size(); ++i) {
    const PreparedFile file(client, absl::StrCat("slow ", i), size);
    RETURN_IF_ERROR(sockets[i].Write(file.head()));
  }
  return absl::OkStatus();
}

// How fast the service writes while `during` runs, in MB/s.
double WriteSpeed(const ServerPair& servers, absl::FunctionRef<void()> during) {
  const double written = servers.service.WrittenMegabytes();
  const auto start = MonotonicClock::now();
  during();
  return (servers.service.WrittenMegabytes() - written) / SecondsSince(start);
}

absl::StatusOr<double> WaitForRelease(const ServerPair& servers) {
  const auto start = MonotonicClock::now();
  while (CountParts(servers) > 0) {
    if (SecondsSince(start) > absl::ToDoubleSeconds(kReleaseTimeout))
      return absl::InternalError("parts of uploads whose clients are gone are left");
    absl::SleepFor(kPollInterval);
  }
  return SecondsSince(start);
}

}  // namespace

absl::StatusOr<IdleCrowdResult> MeasureIdleCrowd(const ServerPair& servers, int connections,
                                                 absl::Duration duration) {
  IdleCrowdResult result;
  ASSIGN_OR_RETURN(result.alone, MeasureSessionLoad(servers, 1, duration));
  ASSIGN_OR_RETURN(const std::vector<LegacySocket> sockets, ConnectAll(servers, connections));
  ASSIGN_OR_RETURN(result.beside, MeasureSessionLoad(servers, 1, duration));
  result.resident = ResidentOf(servers);
  return result;
}

absl::StatusOr<SlowCrowdResult> MeasureSlowCrowd(const ServerPair& servers, int uploads,
                                                 int64_t size, absl::Duration duration) {
  SlowCrowdResult result;
  ASSIGN_OR_RETURN(std::vector<LegacySocket> sockets, ConnectAll(servers, uploads));
  RETURN_IF_ERROR(BeginUploads(servers, size, sockets));
  std::vector<absl::StatusOr<int64_t>> sent(kSenders, 0);
  const auto start = MonotonicClock::now();
  {
    const auto end = start + absl::ToChronoNanoseconds(duration);
    std::vector<std::jthread> senders;
    const size_t share = sockets.size() / kSenders;
    for (size_t i = 0; i < kSenders; ++i) {
      const std::span<LegacySocket> own = std::span(sockets).subspan(i * share, share);
      senders.emplace_back([&sent, own, end, i] { sent[i] = SendInTurn(own, end); });
    }
    for (; MonotonicClock::now() < end; absl::SleepFor(kPollInterval))
      Raise(result.resident, ResidentOf(servers));
  }
  for (const absl::StatusOr<int64_t>& bytes : sent) {
    RETURN_IF_ERROR(bytes.status());
    result.mb_per_second += static_cast<double>(*bytes) / kBytesPerMegabyte / SecondsSince(start);
  }
  sockets.clear();
  ASSIGN_OR_RETURN(result.seconds_to_release, WaitForRelease(servers));
  return result;
}

absl::StatusOr<FairnessResult> MeasureFairness(const ServerPair& servers, int64_t size,
                                               absl::Duration duration) {
  FairnessResult result;
  ASSIGN_OR_RETURN(result.alone, MeasureSessionLoad(servers, 1, duration));
  const auto key_pair = legacy_client::KeyPair::Generate();
  ASSIGN_OR_RETURN(const KnownClient client,
                   Introduce(servers.bridge_address, "bench fairness", key_pair));
  // Each is new content: what is known is not written.
  std::deque<PreparedFile> files;
  for (int i = 0; i < kFairnessFiles; ++i) files.emplace_back(client, "large", size);
  absl::Status uploaded;
  {
    std::jthread uploader([&](const std::stop_token& stop) {
      for (const PreparedFile& file : files) {
        if (stop.stop_requested() || !uploaded.ok()) return;
        uploaded = file.Upload(servers.bridge_address);
      }
    });
    result.large_alone_mb_per_second = WriteSpeed(servers, [&] { absl::SleepFor(duration / 2); });
    absl::StatusOr<SessionLoadResult> beside;
    result.large_mb_per_second =
        WriteSpeed(servers, [&] { beside = MeasureSessionLoad(servers, 1, duration); });
    ASSIGN_OR_RETURN(result.beside, std::move(beside));
  }
  RETURN_IF_ERROR(uploaded);
  RETURN_IF_ERROR(Delete(servers.service_address, client));
  return result;
}

}  // namespace backup::bench
