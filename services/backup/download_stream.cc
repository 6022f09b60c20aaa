#include "services/backup/download_stream.h"

#include <iterator>
#include <utility>

#include "absl/status/status.h"
#include "glog/logging.h"
#include "services/backup/audit/audit_queue.h"
#include "services/backup/audited_call.h"
#include "services/backup/handlers/download_file.h"
#include "services/backup/rpc_scope.h"
#include "services/backup/trace.h"

namespace backup {

grpc::Status ServeDownload(const ServiceContext& context, grpc::ServerContext& call,
                           rpc::DownloadStream& stream) {
  RpcScope scope(call, context, "DownloadFile");
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  v1::DownloadFileRequest request;
  if (!stream.ReadRequest(request)) return scope.Finish(absl::CancelledError("the caller is gone"));
  scope.set_client(request.client_id());
  scope.add_received(request.ByteSizeLong());
  VLOG(2) << "DownloadFile " << TraceText(request);
  const absl::StatusOr<handlers::Download> download =
      handlers::DownloadFile(context.stored_places(), context.stages, request);
  if (context.audit_queue != nullptr) {
    storage::AuditEntry entry = AuditEntryOf(call, context, "DownloadFile", &request);
    if (!download.ok()) {
      AuditFailedCall(context, std::move(entry), download.status());
    } else {
      entry.version_id = download->version.version_id();
      context.audit_queue->Note(std::move(entry));
    }
  }
  if (!download.ok()) return scope.Finish(download.status());
  const auto finish = [&](const absl::Status& status) {
    scope.add_sent(stream.sent_bytes());
    return scope.Finish(status);
  };
  bool is_there = stream.WriteVersion(download->version);
  while (is_there) {
    const absl::StatusOr<absl::string_view> piece = download->bytes->Read();
    if (!piece.ok()) return finish(piece.status());
    if (piece->empty()) return finish(absl::OkStatus());
    is_there = stream.WriteChunk(*piece);
    scope.add_bytes(std::ssize(*piece));
  }
  return finish(absl::CancelledError("the caller is gone"));
}

}  // namespace backup
