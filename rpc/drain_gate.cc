#include "rpc/drain_gate.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "base/error.h"
#include "grpcpp/support/server_interceptor.h"

namespace backup::rpc {
namespace {

// Others may last as long as their callers like, as health watches do.
constexpr char kOwnMethods[] = "/backup.v1.";

// The clock has no room for an infinite one.
constexpr absl::Duration kLongestWait = absl::Hours(24 * 365);

// gRPC destroys it with the call, whose answer was handed to the kernel by then.
class CallInside final : public grpc::experimental::Interceptor {
 public:
  CallInside(DrainGate& gate, StreamWatchdog& watchdog, grpc::ServerContextBase& call)
      : gate_(gate), watchdog_(watchdog), call_(call) {}
  // Within the destructor of the call's context, which may still be cancelled until the wait is
  // over.
  ~CallInside() override {
    taking_.reset();
    gate_.Leave();
  }
  // A call that is being cancelled comes by here, too, with the watchdog's lock.
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS))
      taking_.emplace(watchdog_, call_);
    methods->Proceed();
  }

 private:
  DrainGate& gate_;
  StreamWatchdog& watchdog_;
  grpc::ServerContextBase& call_;
  std::optional<StreamWatchdog::Wait> taking_;  // From the end of the call's work on.
};

class CallInsideFactory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  CallInsideFactory(DrainGate& gate, StreamWatchdog& watchdog) : gate_(gate), watchdog_(watchdog) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* call) override {
    if (!absl::StartsWith(call->method(), kOwnMethods) || !gate_.Enter()) return nullptr;
    return new CallInside(gate_, watchdog_, *call->server_context());
  }

 private:
  DrainGate& gate_;
  StreamWatchdog& watchdog_;
};

}  // namespace

bool DrainGate::Enter() {
  MutexLock lock(mutex_);
  if (!closed_) ++inside_;
  return !closed_;
}

void DrainGate::Leave() {
  MutexLock lock(mutex_);
  if (--inside_ == 0 && closed_) changed_.NotifyAll();
}

void DrainGate::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
}

absl::Status DrainGate::CheckOpen() const {
  MutexLock lock(mutex_);
  if (!closed_) return absl::OkStatus();
  return MakeError(Reason::kDraining, "the service is about to end; try again");
}

bool DrainGate::WaitUntilEmpty(absl::Duration timeout) const {
  const auto end =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(std::min(timeout, kLongestWait));
  MutexLock lock(mutex_);
  while (inside_ > 0) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero()) return false;
    changed_.WaitFor(mutex_, absl::FromChrono(left));
  }
  return true;
}

void PassThrough(DrainGate& gate, StreamWatchdog& watchdog, grpc::ServerBuilder& builder) {
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(std::make_unique<CallInsideFactory>(gate, watchdog));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
}

}  // namespace backup::rpc
