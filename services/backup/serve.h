#pragma once

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/worker_pool.h"
#include "glog/logging.h"
#include "grpcpp/support/server_callback.h"
#include "services/backup/audited_call.h"
#include "services/backup/handlers/transact.h"
#include "services/backup/rpc_scope.h"
#include "services/backup/service_context.h"
#include "services/backup/trace.h"

// How unary calls are served: log line, trace, handler, answer.
namespace backup {

// What is known of a call from its request, for its log line.
template <typename Request>
void NoteRequest(const Request& request, const char* rpc, RpcScope& scope) {
  scope.add_received(request.ByteSizeLong());
  if constexpr (requires { request.client_id(); }) scope.set_client(request.client_id());
  if constexpr (requires { Request::Outcome_Name(request.outcome()); })
    scope.set_verdict(Request::Outcome_Name(request.outcome()));
  if constexpr (requires { request.earned(); }) {
    if (request.earned().empty()) scope.set_routine();
  }
  VLOG(2) << rpc << " " << TraceText(request);
}

// Answers a call with what its handler returned.
template <typename Response>
grpc::Status Answer(absl::StatusOr<Response> result, const char* rpc, RpcScope& scope,
                    Response& response) {
  if (!result.ok()) return scope.Finish(result.status());
  response = *std::move(result);
  // The request may have named it in another way.
  if constexpr (requires { response.client_id(); }) scope.set_client(response.client_id());
  VLOG(2) << rpc << " answers " << TraceText(response);
  scope.add_sent(response.ByteSizeLong());
  return scope.Finish(absl::OkStatus());
}

// Serves a call on a thread that may wait. `handler` returns an absl::StatusOr<Response>.
template <typename Request, typename Response, typename Handler>
grpc::Status Serve(grpc::ServerContextBase& call, const ServiceContext& context, const char* rpc,
                   const Request& request, Response& response, const Handler& handler) {
  RpcScope scope(call, context, rpc);
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  NoteRequest(request, rpc, scope);
  return Answer<Response>(handler(), rpc, scope, response);
}

// The same of a call that the audit log tells of. `handler` takes the catalog by which it changes
// something, and may take the AuditedCall behind that.
template <typename Request, typename Response, typename Handler>
grpc::Status ServeAudited(grpc::ServerContextBase& call, const ServiceContext& context,
                          const char* rpc, const Request& request, Response& response,
                          const Handler& handler) {
  return Serve(call, context, rpc, request, response, [&] {
    AuditedCall audited(call, context, rpc, request);
    const auto handle = [&] {
      if constexpr (std::is_invocable_v<Handler, storage::Catalog&, AuditedCall&>) {
        return handler(audited.catalog(), audited);
      } else {
        return handler(audited.catalog());
      }
    };
    absl::StatusOr<Response> result = handle();
    audited.Finish(result.status());
    return result;
  });
}

// The same of a handler that takes a storage::Snapshot& and the request.
template <typename Request, typename Response, typename Handler>
grpc::Status ServeRead(grpc::ServerContextBase& call, const ServiceContext& context,
                       const char* rpc, const Request& request, Response& response,
                       const Handler& handler) {
  return Serve(call, context, rpc, request, response, [&] {
    return context.catalog.Read(
        [&](storage::Snapshot& snapshot) { return handler(snapshot, request); });
  });
}

// A call that changes the catalog (handlers/transact.h), on gRPC's callback interface: nothing
// waits for the transaction. `Prepare` returns an absl::StatusOr of a handler; `Committed` is told
// of the handler whose transaction is durable, before it answers. Used by one thread at a time.
template <typename Request, typename Response, typename Prepare, typename Committed>
class StartedCall final
    : public std::enable_shared_from_this<StartedCall<Request, Response, Prepare, Committed>> {
 public:
  // All that is borrowed outlives the call. What was prepared in vain is prepared again on
  // `workers`.
  StartedCall(grpc::CallbackServerContext& call, const ServiceContext& context, WorkerPool& workers,
              const char* rpc, const Request& request, Response& response, Prepare prepare,
              Committed committed)
      : scope_(std::in_place, call, context, rpc),
        reactor_(*call.DefaultReactor()),
        context_(context),
        workers_(workers),
        rpc_(rpc),
        request_(request),
        response_(response),
        prepare_(std::move(prepare)),
        committed_(std::move(committed)) {}

  grpc::ServerUnaryReactor* Begin() {
    grpc::ServerUnaryReactor* const reactor = &reactor_;  // This may end before we return.
    if (scope_->admitted().ok()) {
      NoteRequest(request_, rpc_, *scope_);
      Attempt();
    } else {
      Finish(scope_->admitted());
    }
    return reactor;
  }

 private:
  using Handler = typename std::invoke_result_t<Prepare>::value_type;

  void Attempt() {
    ++attempts_;
    absl::StatusOr<Handler> prepared = prepare_();
    if (!prepared.ok()) return Finish(prepared.status());
    const auto handler = std::make_shared<Handler>(*std::move(prepared));
    context_.catalog.Submit(
        [handler](storage::Transaction& transaction) { return handler->Apply(transaction); },
        [self = this->shared_from_this(), handler](const absl::Status& status) {
          self->OnDone(status, *handler);
        });
  }

  void OnDone(const absl::Status& status, const Handler& handler) {
    if (handlers::IsOutdated(status)) {
      if (attempts_ == handlers::kMaxPreparations)
        return Finish(handlers::OutdatedTooOften(status));
      return workers_.Submit([self = this->shared_from_this()] { self->Attempt(); });
    }
    if (!status.ok()) return Finish(status);
    committed_(handler, *scope_);
    Finish(handler.Respond());
  }

  void Finish(absl::StatusOr<Response> result) {
    const grpc::Status status = Answer(std::move(result), rpc_, *scope_, response_);
    scope_.reset();
    reactor_.Finish(status);  // What belongs to the call may end with this.
  }

  std::optional<RpcScope> scope_;
  grpc::ServerUnaryReactor& reactor_;
  const ServiceContext& context_;
  WorkerPool& workers_;
  const char* const rpc_;
  const Request& request_;
  Response& response_;
  const Prepare prepare_;
  const Committed committed_;
  int attempts_ = 0;
};

// Starts such a call; `committed` may be left out.
template <typename Request, typename Response, typename Prepare, typename Committed>
grpc::ServerUnaryReactor* StartCall(grpc::CallbackServerContext& call,
                                    const ServiceContext& context, WorkerPool& workers,
                                    const char* rpc, const Request& request, Response& response,
                                    Prepare prepare, Committed committed) {
  using Call = StartedCall<Request, Response, Prepare, Committed>;
  return std::make_shared<Call>(call, context, workers, rpc, request, response, std::move(prepare),
                                std::move(committed))
      ->Begin();
}
template <typename Request, typename Response, typename Prepare>
grpc::ServerUnaryReactor* StartCall(grpc::CallbackServerContext& call,
                                    const ServiceContext& context, WorkerPool& workers,
                                    const char* rpc, const Request& request, Response& response,
                                    Prepare prepare) {
  return StartCall(call, context, workers, rpc, request, response, std::move(prepare),
                   [](const auto&, RpcScope&) {});
}

}  // namespace backup
