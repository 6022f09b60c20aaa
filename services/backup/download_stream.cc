#include "services/backup/download_stream.h"

#include <iterator>
#include <string>

#include "absl/status/status.h"
#include "base/error.h"
#include "base/rpc/chunk_framing.h"
#include "glog/logging.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/slice.h"
#include "services/backup/handlers/download_file.h"
#include "services/backup/rpc_scope.h"
#include "services/backup/stream_watchdog.h"
#include "services/backup/trace.h"

namespace backup {
namespace {

grpc::ByteBuffer VersionMessage(const v1::FileVersion& version) {
  v1::DownloadFileResponse response;
  *response.mutable_version() = version;
  grpc::ByteBuffer message;
  bool own_buffer = false;
  const grpc::Status packed = grpc::SerializationTraits<v1::DownloadFileResponse>::Serialize(
      response, &message, &own_buffer);
  CHECK(packed.ok()) << packed.error_message();
  return message;
}

grpc::ByteBuffer ChunkMessage(absl::string_view chunk) {
  const std::string prefix =
      rpc::ChunkPrefix(v1::DownloadFileResponse::kChunkFieldNumber, chunk.size());
  const grpc::Slice slices[] = {grpc::Slice(prefix), grpc::Slice(chunk.data(), chunk.size())};
  return grpc::ByteBuffer(slices, std::size(slices));
}

}  // namespace

grpc::Status ServeDownload(const ServiceContext& context, grpc::ServerContext& call,
                           DownloadStream& stream) {
  RpcScope scope(call, context, "DownloadFile");
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  v1::DownloadFileRequest request;
  if (!stream.Read(&request)) return scope.Finish(absl::CancelledError("the caller is gone"));
  scope.set_client(request.client_id());
  scope.add_received(request.ByteSizeLong());
  VLOG(2) << "DownloadFile " << TraceText(request);
  const absl::StatusOr<handlers::Download> download =
      handlers::DownloadFile(context.catalog, context.blobs, context.master_key, request);
  if (!download.ok()) return scope.Finish(download.status());
  const auto write = [&](const grpc::ByteBuffer& message) {
    scope.add_sent(message.Length());
    const StreamWatchdog::Wait wait(context.watchdog, call);
    return stream.Write(message);
  };
  bool is_there = write(VersionMessage(download->version));
  while (is_there) {
    const absl::StatusOr<absl::string_view> piece = download->bytes().Read();
    if (!piece.ok()) return scope.Finish(piece.status());
    if (piece->empty()) return scope.Finish(absl::OkStatus());
    is_there = write(ChunkMessage(*piece));
    scope.add_bytes(std::ssize(*piece));
  }
  return scope.Finish(absl::CancelledError("the caller is gone"));
}

}  // namespace backup
