#pragma once

#include <atomic>
#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "backup/v1/backup.grpc.pb.h"
#include "base/byte_stream.h"
#include "bridge/bridge_metrics.h"
#include "bridge/upload_call.h"
#include "grpcpp/channel.h"
#include "grpcpp/security/credentials.h"

namespace backup::bridge {

// Who asks: sent along with every call, for the service's log.
struct CallOrigin {
  std::string request_id;
  std::string peer;
  std::string connection;
  std::string request;  // As it was decoded; for whoever traces the client.
};

struct BackendOptions {
  // How long a call that meets a restarting service is tried again.
  absl::Duration ride_through = absl::Seconds(30);
  // How much of a file is kept so that its upload can be tried again; a longer one cannot.
  size_t spool_bytes = size_t{4} << 20;
  // How much all uploads keep together; while that is used up, further ones cannot be tried again.
  size_t total_spool_bytes = size_t{64} << 20;
  // Once requested, calls in flight are cancelled and nothing is tried again.
  std::stop_token give_up = {};
  BridgeMetrics metrics = {};
};

// The service as the bridge sees it: typed calls with deadlines, tried again while the service is
// away (they are idempotent, and uploads carry an id). Thread-safe.
class BackendClient {
 public:
  BackendClient(const std::shared_ptr<grpc::Channel>& channel, BackendOptions options)
      : stub_(v1::IngestService::NewStub(channel)),
        upload_(channel),
        options_(std::move(options)) {}

  absl::StatusOr<v1::RegisterClientResponse> RegisterClient(
      const CallOrigin& origin, const v1::RegisterClientRequest& request);
  absl::StatusOr<v1::ExchangeKeyResponse> ExchangeKey(const CallOrigin& origin,
                                                      const v1::ExchangeKeyRequest& request);
  absl::StatusOr<v1::ResumeClientResponse> ResumeClient(const CallOrigin& origin,
                                                        const v1::ResumeClientRequest& request);
  absl::StatusOr<v1::ReportTransferResponse> ReportTransfer(
      const CallOrigin& origin, const v1::ReportTransferRequest& request);
  absl::StatusOr<v1::ObserveClientResponse> ObserveClient(const CallOrigin& origin,
                                                          const v1::ObserveClientRequest& request);
  // Streams `body`, which must yield what the header announces. If the body fails, the
  // call is cancelled and the body's error returned as it is.
  absl::StatusOr<v1::UploadFileResponse> UploadFile(const CallOrigin& origin,
                                                    const v1::UploadFileHeader& header,
                                                    ByteSource& body);

 private:
  // In one message.
  absl::StatusOr<v1::UploadFileResponse> UploadSmallFile(const CallOrigin& origin,
                                                         v1::UploadFileHeader header,
                                                         ByteSource& body);

  const std::unique_ptr<v1::IngestService::Stub> stub_;
  const UploadMethod upload_;
  const BackendOptions options_;
  std::atomic<size_t> spooled_bytes_ = 0;  // By all uploads in flight.
};

// A channel to `target`, any gRPC target, that reconnects quickly; the addresses behind a dns:///
// one are used in turn.
// `server_name` is the name in the service's certificate; empty: the target's.
std::shared_ptr<grpc::Channel> MakeBackendChannel(
    const std::string& target,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials =
        grpc::InsecureChannelCredentials(),
    const std::string& server_name = "");

}  // namespace backup::bridge
