#include "services/backupctl/download_source.h"

#include "base/status_macros.h"

namespace backup::ctl {

DownloadSource::DownloadSource(Connection& connection, grpc::ClientContext& context,
                               const v1::DownloadFileRequest& request)
    : connection_(connection), call_(connection.channel(), context, request) {}

absl::StatusOr<absl::string_view> DownloadSource::Read() {
  const absl::string_view bytes = call_.Read();
  if (bytes.empty()) RETURN_IF_ERROR(connection_.Explain(call_.status()));
  return bytes;
}

}  // namespace backup::ctl
