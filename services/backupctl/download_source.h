#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "backup/v1/catalog.pb.h"
#include "base/byte_stream.h"
#include "grpcpp/client_context.h"
#include "rpc/download_call.h"
#include "services/backupctl/connection.h"

namespace backup::ctl {

// The chunks of one DownloadFile call, which are not copied out of what gRPC received. Used by one
// thread at a time.
class DownloadSource final : public ByteSource {
 public:
  // Both must outlive it. Cancel the call of `context` to have a read of another thread return.
  DownloadSource(Connection& connection, grpc::ClientContext& context,
                 const v1::DownloadFileRequest& request);

  // The end of the bytes means that the service ended the call well.
  absl::StatusOr<absl::string_view> Read() override;

 private:
  const Connection& connection_;
  rpc::DownloadCall call_;
};

}  // namespace backup::ctl
