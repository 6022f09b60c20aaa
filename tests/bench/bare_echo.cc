#include "tests/bench/bare_echo.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/security/credentials.h"
#include "rpc/deadline.h"
#include "tests/bench/bare_messages.h"
#include "tests/bench/child_process.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

constexpr absl::Duration kStartTimeout = absl::Seconds(20);

// All sessions of a load, each call of which starts the next. Thread-safe.
class Sessions {
 public:
  Sessions(const std::string& address, int clients, MonotonicClock::time_point end)
      : stub_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())),
        end_(end),
        under_way_(clients) {
    for (int i = 0; i < clients; ++i) Ask({BareRequest::kRegister, ++last_session_});
  }

  // How many sessions came to their end.
  absl::StatusOr<int64_t> WaitForEnd() {
    all_ended_.WaitForNotification();
    if (failed_ > 0) return absl::UnavailableError("bare-echo fails: see its log");
    return sessions_;
  }

 private:
  struct Call {
    grpc::ClientContext context;
    grpc::ByteBuffer request;
    grpc::ByteBuffer response;
  };

  void Ask(const BareMessage& message) {
    auto call = std::make_shared<Call>();
    call->request = EncodeBareRequest(message);
    call->context.set_deadline(rpc::DeadlineAfter(kStartTimeout));
    stub_.UnaryCall(&call->context, "/bare.Echo/Call", grpc::StubOptions(), &call->request,
                    &call->response, [this, call, message](const grpc::Status& status) {
                      if (!status.ok()) ++failed_;
                      Next(message, status.ok());
                    });
  }

  void Next(BareMessage message, bool ok) {
    if (ok && message.kind != BareRequest::kReport) {
      message.kind = static_cast<BareRequest>(static_cast<int>(message.kind) + 1);
      return Ask(message);
    }
    if (ok) ++sessions_;
    if (ok && MonotonicClock::now() < end_) return Ask({BareRequest::kRegister, ++last_session_});
    if (--under_way_ == 0) all_ended_.Notify();
  }

  grpc::GenericStub stub_;
  const MonotonicClock::time_point end_;
  std::atomic<uint64_t> last_session_ = 0;
  std::atomic<int64_t> sessions_ = 0;
  std::atomic<int> failed_ = 0;
  std::atomic<int> under_way_;
  absl::Notification all_ended_;
};

absl::Status WaitUntilConnected(const std::string& address) {
  const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  if (channel->WaitForConnected(rpc::DeadlineAfter(kStartTimeout))) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("bare-echo does not listen on ", address));
}

absl::StatusOr<ChildProcess> StartEcho(const Programs& programs, const std::string& dir,
                                       const std::string& role, const std::string& address,
                                       const std::string& behind) {
  ASSIGN_OR_RETURN(ChildProcess process,
                   ChildProcess::Start({programs.bare_echo, role, address, behind},
                                       absl::StrCat(dir, "/", role, ".out"),
                                       absl::StrCat(dir, "/", role, ".log")));
  RETURN_IF_ERROR(WaitUntilConnected(address));
  return process;
}

}  // namespace

absl::StatusOr<BareEchoResult> MeasureBareEcho(const Programs& programs, const std::string& dir,
                                               int clients, absl::Duration duration) {
  // The service makes the tables.
  RETURN_IF_ERROR(RunningService::Start(programs, dir).status());
  const std::string back_address = absl::StrCat("unix:", dir, "/back.sock");
  const std::string front_address = absl::StrCat("unix:", dir, "/front.sock");
  ASSIGN_OR_RETURN(const ChildProcess back, StartEcho(programs, dir, "back", back_address,
                                                      absl::StrCat(dir, "/data/catalog.db")));
  ASSIGN_OR_RETURN(const ChildProcess front,
                   StartEcho(programs, dir, "front", front_address, back_address));
  const ServerCpu cpu_start = {back.CpuSeconds(), front.CpuSeconds()};
  const double own_cpu_start = OwnCpuSeconds();
  const auto start = MonotonicClock::now();
  Sessions load(front_address, clients, start + absl::ToChronoNanoseconds(duration));
  BareEchoResult result;
  ASSIGN_OR_RETURN(result.sessions, load.WaitForEnd());
  result.sessions_per_second = static_cast<double>(result.sessions) / SecondsSince(start);
  result.cpu = ServerCpu{back.CpuSeconds(), front.CpuSeconds()} - cpu_start;
  result.client_cpu_seconds = OwnCpuSeconds() - own_cpu_start;
  return result;
}

}  // namespace backup::bench
