#pragma once

#include <memory>

#include "absl/strings/string_view.h"
#include "backup/v1/catalog.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/sync_stream.h"
#include "rpc/chunk_framing.h"

namespace backup::rpc {

// One call of CatalogService.DownloadFile. The bytes of its chunks are not copied out of what gRPC
// received. Used by one thread at a time.
class DownloadCall {
 public:
  // Starts it. `channel` and `context` must outlive it; cancel the call of `context` to have a read
  // of another thread return.
  DownloadCall(grpc::ChannelInterface& channel, grpc::ClientContext& context,
               const v1::DownloadFileRequest& request);
  // Cancels the call if it is not over.
  ~DownloadCall();
  DownloadCall(const DownloadCall&) = delete;
  DownloadCall& operator=(const DownloadCall&) = delete;

  // The next bytes of the file, valid until the next call; empty once the call is over, for a
  // reason that status() tells.
  absl::string_view Read();
  // How the call ended.
  const grpc::Status& status() const { return status_; }

 private:
  void End();

  grpc::ClientContext& context_;
  const std::unique_ptr<grpc::ClientReader<grpc::ByteBuffer>> reader_;
  ChunkSlices slices_;
  v1::DownloadFileResponse message_;  // One that is not just a chunk.
  bool ended_ = false;
  grpc::Status status_;
};

}  // namespace backup::rpc
