#include "services/backup/call_gate.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/match.h"
#include "base/error.h"

namespace backup {
namespace {

// Others may last as long as their callers like, as health watches do.
constexpr char kOwnMethods[] = "/backup.v1.";

// The clock has no room for an infinite one.
constexpr absl::Duration kLongestWait = absl::Hours(24 * 365);

// gRPC destroys it with the call, whose answer was handed to the kernel by then.
class CallInside final : public grpc::experimental::Interceptor {
 public:
  explicit CallInside(CallGate& gate) : gate_(gate) {}
  ~CallInside() override { gate_.Leave(); }
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    methods->Proceed();
  }

 private:
  CallGate& gate_;
};

class CallInsideFactory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit CallInsideFactory(CallGate& gate) : gate_(gate) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* call) override {
    if (!absl::StartsWith(call->method(), kOwnMethods) || !gate_.Enter()) return nullptr;
    return new CallInside(gate_);
  }

 private:
  CallGate& gate_;
};

}  // namespace

bool CallGate::Enter() {
  MutexLock lock(mutex_);
  if (!closed_) ++inside_;
  return !closed_;
}

void CallGate::Leave() {
  MutexLock lock(mutex_);
  if (--inside_ == 0 && closed_) changed_.NotifyAll();
}

void CallGate::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
}

absl::Status CallGate::CheckOpen() const {
  MutexLock lock(mutex_);
  if (!closed_) return absl::OkStatus();
  return MakeError(Reason::kDraining, "the service is about to end; try again");
}

bool CallGate::WaitUntilEmpty(absl::Duration timeout) const {
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

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> PassThrough(CallGate& gate) {
  return std::make_unique<CallInsideFactory>(gate);
}

}  // namespace backup
