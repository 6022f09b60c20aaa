#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "backup/v1/backup.pb.h"
#include "base/byte_stream.h"
#include "base/rpc/chunk_framing.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/sync_stream.h"
#include "services/backupctl/connection.h"

namespace backup::ctl {

// The chunks of one DownloadFile call, which are not copied out of what gRPC received. Used by one
// thread at a time.
class DownloadSource final : public ByteSource {
 public:
  // Both must outlive it. Cancel the call of `context` to have a read of another thread return.
  DownloadSource(Connection& connection, grpc::ClientContext& context,
                 const v1::DownloadFileRequest& request);
  ~DownloadSource() override;
  DownloadSource(const DownloadSource&) = delete;
  DownloadSource& operator=(const DownloadSource&) = delete;

  // The end of the bytes means that the service ended the call well.
  absl::StatusOr<absl::string_view> Read() override;

 private:
  const Connection& connection_;
  grpc::ClientContext& context_;
  const std::unique_ptr<grpc::ClientReader<grpc::ByteBuffer>> reader_;
  rpc::ChunkSlices slices_;
  v1::DownloadFileResponse message_;  // One that is not just a chunk.
  bool ended_ = false;
};

}  // namespace backup::ctl
