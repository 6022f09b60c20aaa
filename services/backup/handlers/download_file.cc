#include "services/backup/handlers/download_file.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "content/stored_content.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {
namespace {

absl::StatusOr<storage::StoredVersion> FindStored(storage::Catalog& catalog,
                                                  const v1::DownloadFileRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const std::string name, ParseName("file_name", request.file_name()));
  ASSIGN_OR_RETURN(storage::StoredVersion stored, catalog.Read([&](storage::Snapshot& snapshot) {
    return snapshot.FindVersion(id, name, request.version_id(), /*with_content=*/true);
  }));
  if (stored.version.state == storage::VersionState::kAbandoned) return Abandoned(stored.version);
  return stored;
}

// How many bytes are asked for.
absl::StatusOr<int64_t> RangeSize(const v1::DownloadFileRequest& request, int64_t file_size) {
  if (request.limit_bytes() < 0) {
    return MakeError(Reason::kInvalidField, "limit_bytes must not be negative", "limit_bytes");
  }
  if (request.offset_bytes() < 0 || request.offset_bytes() > file_size) {
    return MakeError(Reason::kInvalidField, "offset_bytes must lie within the file",
                     "offset_bytes");
  }
  const int64_t rest = file_size - request.offset_bytes();
  return request.limit_bytes() == 0 ? rest : std::min(rest, request.limit_bytes());
}

absl::StatusOr<std::unique_ptr<ByteSource>> Open(const StoredPlaces& places, StageResources& stages,
                                                 const storage::StoredVersion& stored,
                                                 const v1::DownloadFileRequest& request,
                                                 int64_t size) {
  ASSIGN_OR_RETURN(std::unique_ptr<content::StoredContent> content, OpenContent(places, stored));
  return content::ContentRange::Open(
      std::move(content), stages, request.offset_bytes(), size,
      request.caller_verifies() ? content::Verification::kOff : content::Verification::kOn);
}

}  // namespace

absl::StatusOr<Download> DownloadFile(const StoredPlaces& places, StageResources& stages,
                                      const v1::DownloadFileRequest& request) {
  ASSIGN_OR_RETURN(const storage::StoredVersion stored, FindStored(places.catalog, request));
  const storage::Version& version = stored.version;
  ASSIGN_OR_RETURN(const int64_t size, RangeSize(request, version.size_bytes));
  absl::StatusOr<std::unique_ptr<ByteSource>> opened = Open(places, stages, stored, request, size);
  if (!opened.ok()) return LookAgain(places.catalog, version, opened.status());
  return Download{ToProto(version),
                  std::make_unique<ConfirmedSource>(places.catalog, version, *std::move(opened))};
}

}  // namespace backup::handlers
