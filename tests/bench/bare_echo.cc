#include "tests/bench/bare_echo.h"

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <utility>
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

// A connection of its own, for as long as the channel lives.
std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

absl::Status WaitUntilConnected(grpc::Channel& channel, const std::string& address) {
  if (channel.WaitForConnected(rpc::DeadlineAfter(kStartTimeout))) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("bare-echo does not listen on ", address));
}

// All sessions of a load, each call of which starts the next. Each client has a connection.
// Thread-safe.
class Sessions {
 public:
  Sessions(const std::vector<std::shared_ptr<grpc::Channel>>& channels,
           MonotonicClock::time_point end)
      : end_(end), under_way_(this, [](Sessions* all) { all->all_ended_.Notify(); }) {
    for (const auto& channel : channels) stubs_.emplace_back(channel);
    for (grpc::GenericStub& stub : stubs_)
      Ask(stub, {BareRequest::kRegister, ++last_session_}, under_way_);
  }

  // How many sessions came to their end.
  absl::StatusOr<int64_t> WaitForEnd() {
    under_way_.reset();
    all_ended_.WaitForNotification();
    if (failed_ > 0) return absl::UnavailableError("bare-echo fails: see its log");
    return sessions_;
  }

 private:
  struct Call {
    const std::shared_ptr<Sessions> sessions;  // Let go of last: a channel must outlive its calls.
    grpc::ClientContext context = {};
    grpc::ByteBuffer request = {};
    grpc::ByteBuffer response = {};
  };

  void Ask(grpc::GenericStub& stub, const BareMessage& message,
           const std::shared_ptr<Sessions>& under_way) {
    const std::shared_ptr<Call> call(new Call{under_way});
    call->request = EncodeBareRequest(kClientHop, message);
    call->context.set_deadline(rpc::DeadlineAfter(kStartTimeout));
    stub.UnaryCall(&call->context, "/bare.Echo/Call", grpc::StubOptions(), &call->request,
                   &call->response, [this, &stub, call, message](const grpc::Status& status) {
                     if (!status.ok()) ++failed_;
                     Next(stub, message, status.ok(), call->sessions);
                   });
  }

  void Next(grpc::GenericStub& stub, BareMessage message, bool ok,
            const std::shared_ptr<Sessions>& under_way) {
    if (ok && message.kind != BareRequest::kReport) {
      message.kind = static_cast<BareRequest>(static_cast<int>(message.kind) + 1);
      return Ask(stub, message, under_way);
    }
    if (ok) ++sessions_;
    if (ok && MonotonicClock::now() < end_)
      Ask(stub, {BareRequest::kRegister, ++last_session_}, under_way);
  }

  std::deque<grpc::GenericStub> stubs_;
  const MonotonicClock::time_point end_;
  std::atomic<uint64_t> last_session_ = 0;
  std::atomic<int64_t> sessions_ = 0;
  std::atomic<int> failed_ = 0;
  absl::Notification all_ended_;
  // Owns nothing: whoever holds it has a call under way, or is about to have one.
  std::shared_ptr<Sessions> under_way_;
};

struct Echo {
  ChildProcess process;
  std::string port;
};

absl::StatusOr<Echo> StartEcho(const Programs& programs, const std::string& dir,
                               const std::string& role, const std::string& address,
                               const std::string& behind) {
  const std::string out = absl::StrCat(dir, "/", role, ".out");
  ASSIGN_OR_RETURN(ChildProcess process,
                   ChildProcess::Start({programs.bare_echo, role, address, behind}, out,
                                       absl::StrCat(dir, "/", role, ".log")));
  ASSIGN_OR_RETURN(std::string port, WaitForPort(process, out));
  return Echo{std::move(process), std::move(port)};
}

}  // namespace

absl::StatusOr<BareEchoResult> MeasureBareEcho(const Programs& programs, const std::string& dir,
                                               int clients, absl::Duration duration) {
  // The service makes the tables.
  RETURN_IF_ERROR(RunningService::Start(programs, dir).status());
  const std::string back_address = absl::StrCat("unix:", dir, "/back.sock");
  ASSIGN_OR_RETURN(const Echo back, StartEcho(programs, dir, "back", back_address,
                                              absl::StrCat(dir, "/data/catalog.db")));
  ASSIGN_OR_RETURN(const Echo front,
                   StartEcho(programs, dir, "front", "127.0.0.1:0", back_address));
  const std::string address = absl::StrCat("127.0.0.1:", front.port);
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int i = 0; i < clients; ++i) {
    channels.push_back(Connect(address));
    RETURN_IF_ERROR(WaitUntilConnected(*channels.back(), address));
  }
  const ServerCpu cpu_start = {back.process.CpuSeconds(), front.process.CpuSeconds()};
  const double own_cpu_start = OwnCpuSeconds();
  const auto start = MonotonicClock::now();
  Sessions load(channels, start + absl::ToChronoNanoseconds(duration));
  BareEchoResult result;
  ASSIGN_OR_RETURN(result.sessions, load.WaitForEnd());
  result.sessions_per_second = static_cast<double>(result.sessions) / SecondsSince(start);
  result.cpu = ServerCpu{back.process.CpuSeconds(), front.process.CpuSeconds()} - cpu_start;
  result.client_cpu_seconds = OwnCpuSeconds() - own_cpu_start;
  return result;
}

}  // namespace backup::bench
