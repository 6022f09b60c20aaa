#include "tests/bench/session_load.h"

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/byte_stream.h"
#include "base/checksum.h"
#include "base/status_macros.h"
#include "bridge/client/channel.h"
#include "bridge/client/cipher.h"
#include "bridge/client/frames.h"
#include "bridge/client/key_pair.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

using legacy_client::Answer;
using legacy_client::AnswerKind;
using legacy_client::Channel;
using legacy_client::RequestKind;

constexpr size_t kFileSize = 1024;
constexpr char kFileName[] = "bench.bin";

std::string Encrypt(absl::string_view plaintext, absl::string_view key) {
  legacy_client::CbcEncryptor encryptor(key);
  std::string out(plaintext.size() + legacy_client::kCipherBlockSize, '\0');
  size_t size = encryptor.Update(plaintext, out);
  size += encryptor.Finish(std::span<char>(out).subspan(size));
  out.resize(size);
  return out;
}

// One thread's clients. Used by one thread at a time.
class Worker {
 public:
  // `name` begins the names of its clients.
  Worker(std::string name, const legacy_client::Endpoint& server,
         const legacy_client::KeyPair& key_pair)
      : name_(std::move(name)),
        channel_({server, legacy_client::ConnectionUse::kPerRequest}),
        key_pair_(key_pair),
        public_key_(key_pair.PublicKeyField(legacy_client::PublicKeyForm::kSpki)) {}

  void RunUntil(MonotonicClock::time_point end) {
    while (status_.ok() && MonotonicClock::now() < end) {
      status_ = RunSession(absl::StrCat(name_, sessions_));
      if (status_.ok()) ++sessions_;
    }
  }

  const absl::Status& status() const { return status_; }
  int64_t sessions() const { return sessions_; }
  const std::vector<double>& request_milliseconds() const { return request_milliseconds_; }

 private:
  absl::Status RunSession(const std::string& name) {
    legacy_client::Sender sender;
    ASSIGN_OR_RETURN(const Answer registered, Ask(AnswerKind::kRegistered, [&] {
                       return channel_.Ask(EncodeNameRequest(sender, RequestKind::kRegister, name));
                     }));
    ASSIGN_OR_RETURN(sender.id, legacy_client::DecodeIdPayload(registered.payload));
    ASSIGN_OR_RETURN(const Answer accepted, Ask(AnswerKind::kKeyAccepted, [&] {
                       return channel_.Ask(EncodePublicKeyRequest(sender, name, public_key_));
                     }));
    ASSIGN_OR_RETURN(const legacy_client::KeyAnswer key,
                     legacy_client::DecodeKeyPayload(accepted.payload));
    ASSIGN_OR_RETURN(const std::string session_key, key_pair_.Decrypt(key.encrypted_key));
    RETURN_IF_ERROR(SendFile(sender, Encrypt(plaintext_, session_key)));
    return Ask(AnswerKind::kAcknowledged,
               [&] {
                 return channel_.Ask(
                     EncodeNameRequest(sender, RequestKind::kChecksumOk, kFileName));
               })
        .status();
  }

  absl::Status SendFile(const legacy_client::Sender& sender, const std::string& content) {
    const auto size = static_cast<int64_t>(content.size());
    const std::string request = absl::StrCat(
        EncodeFileHead(sender, {legacy_client::FileFieldsSize(sender.family) + size, size},
                       kFileName),
        content);
    ASSIGN_OR_RETURN(const Answer answer,
                     Ask(AnswerKind::kFileReceived, [&] { return channel_.Ask(request); }));
    ASSIGN_OR_RETURN(const legacy_client::FileAnswer received,
                     legacy_client::DecodeFilePayload(answer.payload));
    Crc32 checksum;
    checksum.Update(content);
    if (received.checksum == checksum.Value()) return absl::OkStatus();
    return absl::DataLossError("the server answers a wrong checksum");
  }

  absl::StatusOr<Answer> Ask(AnswerKind expected, absl::FunctionRef<absl::StatusOr<Answer>()> ask) {
    const auto start = MonotonicClock::now();
    ASSIGN_OR_RETURN(Answer answer, ask());
    request_milliseconds_.push_back(1e3 * SecondsSince(start));
    if (answer.kind == expected) return answer;
    return absl::InternalError(
        absl::StrCat("the server answers with ", static_cast<int>(answer.kind)));
  }

  const std::string name_;
  Channel channel_;
  const legacy_client::KeyPair& key_pair_;
  const std::string public_key_;
  const std::string plaintext_ = std::string(kFileSize, 'b');
  absl::Status status_;
  int64_t sessions_ = 0;
  std::vector<double> request_milliseconds_;
};

absl::Status Summarize(const std::vector<Worker>& workers, SessionLoadResult& result) {
  std::vector<double> milliseconds;
  for (const Worker& worker : workers) {
    RETURN_IF_ERROR(worker.status());
    result.sessions += worker.sessions();
    milliseconds.insert(milliseconds.end(), worker.request_milliseconds().begin(),
                        worker.request_milliseconds().end());
  }
  if (milliseconds.empty()) return absl::InternalError("no session came to its end");
  result.p50_milliseconds = Percentile(milliseconds, 0.50);
  result.p99_milliseconds = Percentile(milliseconds, 0.99);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SessionLoadResult> MeasureSessionLoad(const ServerPair& servers, int clients,
                                                     absl::Duration duration) {
  static std::atomic<int> loads = 0;  // Every session has a name of its own.
  const int load = ++loads;
  const legacy_client::KeyPair key_pair = legacy_client::KeyPair::Generate();
  std::vector<Worker> workers;
  workers.reserve(static_cast<size_t>(clients));
  for (int i = 0; i < clients; ++i) {
    workers.emplace_back(absl::StrCat("bench load ", load, " ", i, " "), servers.bridge_address,
                         key_pair);
  }

  SessionLoadResult result;
  const ServerCpu cpu_start = CpuOf(servers);
  const double own_cpu_start = OwnCpuSeconds();
  const auto start = MonotonicClock::now();
  {
    std::vector<std::jthread> threads;
    for (Worker& worker : workers) {
      threads.emplace_back([&] { worker.RunUntil(start + absl::ToChronoNanoseconds(duration)); });
    }
  }
  const double seconds = SecondsSince(start);
  result.cpu = CpuOf(servers) - cpu_start;
  result.client_cpu_seconds = OwnCpuSeconds() - own_cpu_start;
  RETURN_IF_ERROR(Summarize(workers, result));
  result.sessions_per_second = static_cast<double>(result.sessions) / seconds;
  return result;
}

}  // namespace backup::bench
