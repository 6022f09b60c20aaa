#include "rpc/download_call.h"

#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/impl/codegen/rpc_method.h"
#include "rpc/packed_message.h"

namespace backup::rpc {
namespace {

constexpr char kPath[] = "/backup.v1.CatalogService/DownloadFile";

std::unique_ptr<grpc::ClientReader<grpc::ByteBuffer>> Start(
    grpc::ChannelInterface& channel, grpc::ClientContext& context,
    const v1::DownloadFileRequest& request) {
  const grpc::internal::RpcMethod method(kPath, grpc::internal::RpcMethod::SERVER_STREAMING);
  return std::unique_ptr<grpc::ClientReader<grpc::ByteBuffer>>(
      grpc::internal::ClientReaderFactory<grpc::ByteBuffer>::Create(&channel, method, &context,
                                                                    request));
}

}  // namespace

DownloadCall::DownloadCall(grpc::ChannelInterface& channel, grpc::ClientContext& context,
                           const v1::DownloadFileRequest& request)
    : context_(context),
      reader_(Start(channel, context, request)),
      slices_(v1::DownloadFileResponse::kChunkFieldNumber) {}

DownloadCall::~DownloadCall() {
  if (ended_) return;
  context_.TryCancel();
  End();
}

absl::string_view DownloadCall::Read() {
  while (true) {
    const absl::string_view bytes = slices_.Next();
    if (!bytes.empty() || ended_) return bytes;
    grpc::ByteBuffer buffer;
    if (!reader_->Read(&buffer)) {
      End();
    } else if (!slices_.Take(buffer)) {
      if (!Unpack(buffer, message_)) {
        context_.TryCancel();
        End();
        status_ = {grpc::StatusCode::INTERNAL, "the service sent a message that cannot be read"};
      } else if (!message_.chunk().empty()) {
        return message_.chunk();
      }
    }
  }
}

void DownloadCall::End() {
  ended_ = true;
  status_ = reader_->Finish();
}

}  // namespace backup::rpc
