#include "services/backup/handlers/download_file.h"

#include <algorithm>

#include "base/bulk_thread.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {

absl::StatusOr<Download> DownloadFile(storage::Catalog& catalog, const storage::BlobStore& blobs,
                                      const crypto::MasterKey& master_key,
                                      const v1::DownloadFileRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const std::string name, ParseName("file_name", request.file_name()));
  ASSIGN_OR_RETURN(const storage::StoredVersion stored,
                   catalog.FindVersion(id, name, request.version_id(), /*with_content=*/true));
  if (stored.version.state == storage::VersionState::kAbandoned) {
    return MakeError(Reason::kVersionNotFound,
                     "the client gave this version up; its content was discarded",
                     request.file_name());
  }
  if (request.limit_bytes() < 0) {
    return MakeError(Reason::kInvalidField, "limit_bytes must not be negative", "limit_bytes");
  }
  if (request.offset_bytes() < 0 || request.offset_bytes() > stored.version.size_bytes) {
    return MakeError(Reason::kInvalidField, "offset_bytes must lie within the file",
                     "offset_bytes");
  }
  const int64_t rest = stored.version.size_bytes - request.offset_bytes();
  const int64_t size = request.limit_bytes() == 0 ? rest : std::min(rest, request.limit_bytes());
  Download download;
  download.version = ToProto(stored.version);
  ASSIGN_OR_RETURN(download.content, OpenContent(blobs, master_key, stored));
  download.range = request.caller_verifies()
                       ? download.content->ReadUnverified(request.offset_bytes(), size)
                       : download.content->Read(request.offset_bytes(), size);
  if (size >= kBulkMinSize) download.read_ahead = ReadAheadSource::TryMake(*download.range);
  return download;
}

}  // namespace backup::handlers
