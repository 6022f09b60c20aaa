#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "bridge/service/backend_options.h"
#include "bridge/service/methods.h"
#include "bridge/service/ride_through.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/async_unary_call.h"
#include "rpc/completion_queue.h"
#include "rpc/status.h"

namespace backup::bridge {

// Whether a call waits for a service that is unavailable.
enum class Policy {
  kRideThrough,  // Is tried again: BackendOptions::ride_through.
  kOnce,         // Fails at once.
};

// How many calls are in flight. Thread-safe.
class CallsInFlight {
 public:
  void Add();
  void Remove();
  void WaitUntilNone();

 private:
  Mutex mutex_;
  CondVar none_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What all calls share. Its owner lives until none is in flight.
struct CallEnvironment {
  CallEnvironment(const std::shared_ptr<grpc::Channel>& channel,
                  std::shared_ptr<rpc::CompletionQueue> calls_queue, BackendOptions call_options)
      : stubs(channel), queue(std::move(calls_queue)), options(std::move(call_options)) {}

  Stubs stubs;
  const std::shared_ptr<rpc::CompletionQueue> queue;
  const BackendOptions options;
  // Outlives the rest by as long as the last call needs to say that it is gone.
  const std::shared_ptr<CallsInFlight> in_flight = std::make_shared<CallsInFlight>();
};

// Fills in what every call sends along.
void PrepareContext(grpc::ClientContext& context, const CallOrigin& origin,
                    absl::Duration deadline);

// One call of `Method`, tried again while the service is unavailable, without a thread that waits:
// the queue's tells how each try ended and when the next is due. Deletes itself when it is done.
template <typename Method>
class Call final : public rpc::CompletionQueue::Event {
 public:
  using Request = typename Method::Request;
  using Response = typename Method::Response;
  using Done = std::function<void(absl::StatusOr<Response>)>;

  // `origin` must live until `done` was called.
  static void Start(CallEnvironment& environment, const CallOrigin& origin, Request request,
                    Policy policy, Done done) {
    environment.in_flight->Add();
    (new Call(environment, origin, std::move(request), policy, std::move(done)))->Try();
  }

  void Happen() override {
    const absl::Status result = rpc::FromGrpc(try_->status);
    try_->counted.End(result);
    const std::optional<absl::Duration> delay =
        policy_ == Policy::kOnce ? std::nullopt : ride_through_.NextDelay(result, true);
    if (delay) return TryAgainAfter(*delay, result);
    if (result.ok()) return Finish(std::move(try_->response));
    Finish(IsUnavailable(result, environment_.options) ? absl::UnavailableError(result.message())
                                                       : result);
  }

 private:
  struct Cancel {
    grpc::ClientContext& context;
    void operator()() const { context.TryCancel(); }
  };
  struct OneTry {
    explicit OneTry(const BackendOptions& options) : counted(options.metrics, Method::kName) {}

    const CountedTry counted;
    grpc::ClientContext context;
    Response response;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader;
    std::optional<std::stop_callback<Cancel>> cancel;
  };

  Call(CallEnvironment& environment, const CallOrigin& origin, Request request, Policy policy,
       Done done)
      : environment_(environment),
        origin_(origin),
        request_(std::move(request)),
        policy_(policy),
        done_(std::move(done)),
        ride_through_(environment.options) {}

  void Try() {
    OneTry& now = try_.emplace(environment_.options);
    PrepareContext(now.context, origin_, Method::Deadline(request_));
    now.cancel.emplace(environment_.options.give_up, Cancel{now.context});
    now.reader = Method::Prepare(environment_.stubs, &now.context, request_,
                                 &environment_.queue->completions());
    now.reader->StartCall();
    now.reader->Finish(&now.response, &now.status, Tag());
  }

  void TryAgainAfter(absl::Duration delay, const absl::Status& result) {
    try_.reset();
    environment_.queue->CallAfter(delay, environment_.options.give_up, [this, result] {
      if (!environment_.options.give_up.stop_requested()) return Try();
      ride_through_.GiveUp();
      Finish(result);
    });
  }

  void Finish(absl::StatusOr<Response> response) {
    done_(std::move(response));
    const std::shared_ptr<CallsInFlight> in_flight = environment_.in_flight;
    delete this;
    in_flight->Remove();
  }

  CallEnvironment& environment_;
  const CallOrigin& origin_;
  const Request request_;
  const Policy policy_;
  Done done_;
  RideThrough ride_through_;
  std::optional<OneTry> try_;
};

}  // namespace backup::bridge
