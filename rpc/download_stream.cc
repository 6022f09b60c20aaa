#include "rpc/download_stream.h"

#include <iterator>
#include <string>

#include "grpcpp/support/method_handler.h"
#include "grpcpp/support/slice.h"
#include "rpc/chunk_framing.h"
#include "rpc/packed_message.h"

namespace backup::rpc {

bool DownloadStream::WriteVersion(const v1::FileVersion& version) {
  v1::DownloadFileResponse response;
  *response.mutable_version() = version;
  return Write(Pack(response));
}

bool DownloadStream::WriteChunk(absl::string_view chunk) {
  const std::string prefix = ChunkPrefix(v1::DownloadFileResponse::kChunkFieldNumber, chunk.size());
  const grpc::Slice slices[] = {grpc::Slice(prefix), grpc::Slice(chunk.data(), chunk.size())};
  return Write(grpc::ByteBuffer(slices, std::size(slices)));
}

bool DownloadStream::Write(const grpc::ByteBuffer& message) {
  sent_bytes_ += message.Length();
  const StreamWatchdog::Wait wait(watchdog_, call_);
  return messages_.Write(message);
}

CatalogServiceWithDownloadStream::CatalogServiceWithDownloadStream(StreamWatchdog& watchdog) {
  // As the generated WithSplitStreamingMethod_DownloadFile does it, but for the type of messages.
  const int method = v1::DownloadFileRequest::descriptor()
                         ->file()
                         ->FindServiceByName("CatalogService")
                         ->FindMethodByName("DownloadFile")
                         ->index();
  MarkMethodStreamed(
      method,
      new grpc::internal::SplitServerStreamingHandler<v1::DownloadFileRequest, grpc::ByteBuffer>(
          [this, &watchdog](grpc::ServerContext* call, DownloadStream::Messages* messages) {
            DownloadStream stream(*call, *messages, watchdog);
            return ServeDownload(*call, stream);
          }));
}

}  // namespace backup::rpc
