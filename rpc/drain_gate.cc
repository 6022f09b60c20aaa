#include "rpc/drain_gate.h"

#include <algorithm>
#include <chrono>
#include <memory>
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
  explicit CallInside(DrainGate& gate) : gate_(gate) {}
  ~CallInside() override { gate_.Leave(); }
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    methods->Proceed();
  }

 private:
  DrainGate& gate_;
};

class CallInsideFactory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit CallInsideFactory(DrainGate& gate) : gate_(gate) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* call) override {
    if (!absl::StartsWith(call->method(), kOwnMethods) || !gate_.Enter()) return nullptr;
    return new CallInside(gate_);
  }

 private:
  DrainGate& gate_;
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

void PassThrough(DrainGate& gate, grpc::ServerBuilder& builder) {
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(std::make_unique<CallInsideFactory>(gate));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
}

}  // namespace backup::rpc
