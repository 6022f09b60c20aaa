#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "backup/v1/backup.grpc.pb.h"
#include "base/byte_stream.h"
#include "grpcpp/channel.h"

namespace backup::bridge {

// Who asks: sent along with every call, for the service's log.
struct CallOrigin {
  std::string request_id;
  std::string peer;
  std::string connection;
};

struct BackendOptions {
  // How long a call that meets a restarting service is tried again.
  absl::Duration ride_through = absl::Seconds(30);
  // How much of a file is kept so that its upload can be tried again; a longer one cannot.
  size_t spool_bytes = 4 << 20;
};

// The service as the bridge sees it: typed calls with deadlines, tried again while the service is
// away (they are idempotent, and uploads carry an id). Thread-safe.
class BackendClient {
 public:
  BackendClient(v1::IngestService::StubInterface& stub, BackendOptions options)
      : stub_(stub), options_(options) {}

  absl::StatusOr<v1::RegisterClientResponse> RegisterClient(
      const CallOrigin& origin, const v1::RegisterClientRequest& request);
  absl::StatusOr<v1::ExchangeKeyResponse> ExchangeKey(const CallOrigin& origin,
                                                      const v1::ExchangeKeyRequest& request);
  absl::StatusOr<v1::ResumeClientResponse> ResumeClient(const CallOrigin& origin,
                                                        const v1::ResumeClientRequest& request);
  absl::StatusOr<v1::ReportTransferResponse> ReportTransfer(
      const CallOrigin& origin, const v1::ReportTransferRequest& request);
  // Streams `body`, which must yield exactly header.encoded_size() bytes; its error is returned as
  // it is.
  absl::StatusOr<v1::UploadFileResponse> UploadFile(const CallOrigin& origin,
                                                    const v1::UploadFileHeader& header,
                                                    ByteSource& body);

 private:
  v1::IngestService::StubInterface& stub_;
  const BackendOptions options_;
};

// A channel to `target` (any gRPC target; dns:/// ones are balanced round robin) that reconnects
// quickly.
std::shared_ptr<grpc::Channel> MakeBackendChannel(const std::string& target);

}  // namespace backup::bridge
