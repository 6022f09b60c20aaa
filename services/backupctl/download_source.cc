#include "services/backupctl/download_source.h"

#include "base/status_macros.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/impl/codegen/rpc_method.h"

namespace backup::ctl {
namespace {

const grpc::internal::RpcMethod& Method() {
  static const grpc::internal::RpcMethod& method = *new grpc::internal::RpcMethod(
      "/backup.v1.CatalogService/DownloadFile", grpc::internal::RpcMethod::SERVER_STREAMING);
  return method;
}

}  // namespace

DownloadSource::DownloadSource(Connection& connection, grpc::ClientContext& context,
                               const v1::DownloadFileRequest& request)
    : connection_(connection),
      context_(context),
      reader_(grpc::internal::ClientReaderFactory<grpc::ByteBuffer>::Create(
          &connection.channel(), Method(), &context, request)),
      slices_(v1::DownloadFileResponse::kChunkFieldNumber) {}

DownloadSource::~DownloadSource() {
  if (ended_) return;
  context_.TryCancel();
  static_cast<void>(reader_->Finish());
}

absl::StatusOr<absl::string_view> DownloadSource::Read() {
  while (true) {
    const absl::string_view bytes = slices_.Next();
    if (!bytes.empty() || ended_) return bytes;
    grpc::ByteBuffer buffer;
    if (!reader_->Read(&buffer)) {
      ended_ = true;
      RETURN_IF_ERROR(connection_.Explain(reader_->Finish()));
      continue;
    }
    if (slices_.Take(buffer)) continue;
    if (!grpc::SerializationTraits<v1::DownloadFileResponse>::Deserialize(&buffer, &message_).ok())
      return absl::InternalError("the service sent a message that cannot be read");
    if (!message_.chunk().empty()) return absl::string_view(message_.chunk());
  }
}

}  // namespace backup::ctl
