#include "rpc/upload_call.h"

#include <iterator>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "glog/logging.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/slice.h"
#include "rpc/chunk_framing.h"
#include "rpc/status.h"

namespace backup::rpc {
namespace {

// The same bytes, not copied.
grpc::Slice ToSlice(SharedPiece piece) {
  using Buffer = std::shared_ptr<const char[]>;
  auto* const buffer = new Buffer(std::move(piece.buffer));
  return grpc::Slice(
      const_cast<char*>(piece.bytes.data()), piece.bytes.size(),
      [](void* done) { delete static_cast<Buffer*>(done); }, buffer);
}

grpc::ByteBuffer Serialize(const v1::UploadFileHeader& header) {
  v1::UploadFileRequest request;
  *request.mutable_header() = header;
  grpc::ByteBuffer message;
  bool own_buffer = false;
  const grpc::Status packed =
      grpc::SerializationTraits<v1::UploadFileRequest>::Serialize(request, &message, &own_buffer);
  CHECK(packed.ok()) << packed.error_message();
  return message;
}

// With the first message instead of before it.
grpc::ClientContext& CorkMetadata(grpc::ClientContext& context) {
  context.set_initial_metadata_corked(true);
  return context;
}

}  // namespace

UploadMethod::UploadMethod(std::shared_ptr<grpc::ChannelInterface> channel)
    : channel_(std::move(channel)),
      method_(kPath, grpc::internal::RpcMethod::CLIENT_STREAMING, channel_) {}

UploadCall::UploadCall(const UploadMethod& method, grpc::ClientContext& context)
    : writer_(grpc::internal::ClientWriterFactory<grpc::ByteBuffer>::Create(
          method.channel_.get(), method.method_, &CorkMetadata(context), &response_)) {}

bool UploadCall::WriteHeader(const v1::UploadFileHeader& header) {
  return writer_->Write(Serialize(header));
}

bool UploadCall::WriteChunk(SharedPiece chunk) {
  const std::string prefix =
      rpc::ChunkPrefix(v1::UploadFileRequest::kChunkFieldNumber, chunk.bytes.size());
  const grpc::Slice slices[] = {grpc::Slice(prefix), ToSlice(std::move(chunk))};
  return writer_->Write(grpc::ByteBuffer(slices, std::size(slices)));
}

absl::StatusOr<v1::UploadFileResponse> UploadCall::Finish() {
  RETURN_IF_ERROR(rpc::FromGrpc(writer_->Finish()));
  return std::move(response_);
}

}  // namespace backup::rpc
