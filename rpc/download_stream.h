#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"
#include "backup/v1/catalog.grpc.pb.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/sync_stream.h"
#include "rpc/stream_watchdog.h"

namespace backup::rpc {

// One DownloadFile call, for a handler that blocks. Its messages are sent as they are on the wire,
// which spares copies of each chunk. Used by one thread at a time.
class DownloadStream {
 public:
  using Messages = grpc::ServerSplitStreamer<v1::DownloadFileRequest, grpc::ByteBuffer>;

  // `watchdog` cancels the call if its peer takes nothing for too long. All must outlive it.
  DownloadStream(grpc::ServerContext& call, Messages& messages, StreamWatchdog& watchdog)
      : call_(call), messages_(messages), watchdog_(watchdog) {}

  // To be called first, once. False if the caller is gone, as is that of the others.
  bool ReadRequest(v1::DownloadFileRequest& request) { return messages_.Read(&request); }
  // The version, and then its bytes in chunks of at most kMaxChunkSize.
  bool WriteVersion(const v1::FileVersion& version);
  bool WriteChunk(absl::string_view chunk);
  // Of the messages that were written.
  size_t sent_bytes() const { return sent_bytes_; }

 private:
  bool Write(const grpc::ByteBuffer& message);

  grpc::ServerContext& call_;
  Messages& messages_;
  StreamWatchdog& watchdog_;
  size_t sent_bytes_ = 0;
};

// CatalogService with DownloadFile on a DownloadStream. Thread-safe.
class CatalogServiceWithDownloadStream : public v1::CatalogService::Service {
 protected:
  // `watchdog` must outlive it.
  explicit CatalogServiceWithDownloadStream(StreamWatchdog& watchdog);

  // Answers one call of DownloadFile.
  virtual grpc::Status ServeDownload(grpc::ServerContext& call, DownloadStream& stream) = 0;
};

}  // namespace backup::rpc
