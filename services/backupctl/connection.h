#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "backup/v1/admin.grpc.pb.h"
#include "backup/v1/catalog.grpc.pb.h"
#include "backup/v1/ingest.grpc.pb.h"
#include "backup/v1/lifecycle.grpc.pb.h"
#include "backup/v1/types.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/security/credentials.h"
#include "services/backupctl/interrupt.h"

namespace backup::ctl {

// The context of one call: has a deadline and is cancelled by an interrupt. Used by one thread at a
// time.
class Call {
 public:
  Call(Interrupt& interrupt, absl::Duration timeout);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ClientContext& context() { return context_; }

 private:
  Interrupt& interrupt_;
  grpc::ClientContext context_;
};

// The service as the command line sees it. Does nothing on the network before the first call.
// Thread-safe.
class Connection {
 public:
  // Says why the service cannot be reached and what to do; empty if it can.
  using Diagnose = std::function<std::string()>;

  // `target` is what `channel` leads to, for messages. `timeout` is for calls that answer at once.
  // `diagnose` is asked when a call fails for want of a connection.
  Connection(
      std::shared_ptr<grpc::Channel> channel, std::string target, absl::Duration timeout,
      Interrupt& interrupt, Diagnose diagnose = [] { return std::string(); });

  v1::IngestService::StubInterface& ingest() { return *ingest_; }
  v1::CatalogService::StubInterface& catalog() { return *catalog_; }
  v1::LifecycleService::StubInterface& lifecycle() { return *lifecycle_; }
  v1::AdminService::StubInterface& admin() { return *admin_; }
  // For what the stubs cannot do.
  grpc::ChannelInterface& channel() { return *channel_; }
  Interrupt& interrupt() { return interrupt_; }

  // Calls one unary method of one of the stubs above.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> CallUnary(Stub& stub,
                                     grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                  const Request&, Response*),
                                     const Request& request) {
    return CallUnary(stub, method, request, timeout_);
  }
  // The same with another timeout.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> CallUnary(Stub& stub,
                                     grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                  const Request&, Response*),
                                     const Request& request, absl::Duration timeout) {
    Call call(interrupt_, timeout);
    Response response;
    const grpc::Status status = (stub.*method)(&call.context(), request, &response);
    if (!status.ok()) return Explain(status);
    return response;
  }

  // The time a transfer of `size_bytes` may take: it grows with the size at the least rate that we
  // put up with.
  absl::Duration TransferTimeout(int64_t size_bytes) const;

  // The status of a call with the Reason it carries, and with what to do if the service cannot be
  // reached.
  absl::Status Explain(const grpc::Status& status) const;

  // Whether the service says that it serves, by a real grpc.health.v1 call.
  absl::StatusOr<bool> IsServing();

  // The client that `text` means: an id, or else a name in the API's text form. Reason
  // CLIENT_NOT_FOUND.
  absl::StatusOr<v1::Client> FindClient(absl::string_view text);

 private:
  // `error` of a call, with what to do where the service itself has not said what is wrong.
  absl::Status WithRemedy(absl::Status error) const;

  const std::shared_ptr<grpc::Channel> channel_;
  const std::string target_;
  const absl::Duration timeout_;
  Interrupt& interrupt_;
  const Diagnose diagnose_;
  const std::unique_ptr<v1::IngestService::StubInterface> ingest_;
  const std::unique_ptr<v1::CatalogService::StubInterface> catalog_;
  const std::unique_ptr<v1::LifecycleService::StubInterface> lifecycle_;
  const std::unique_ptr<v1::AdminService::StubInterface> admin_;
};

// A channel to `target`, which is anything gRPC understands. Calls that are safe twice are tried
// again while the service is away for a moment.
// `server_name` is the name in the service's certificate; empty: the target's.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target,
                                           const std::shared_ptr<grpc::ChannelCredentials>&
                                               credentials = grpc::InsecureChannelCredentials(),
                                           const std::string& server_name = "");

}  // namespace backup::ctl
