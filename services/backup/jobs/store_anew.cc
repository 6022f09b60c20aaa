#include "services/backup/jobs/store_anew.h"

#include <iterator>

#include "base/status_macros.h"

namespace backup::jobs {

absl::StatusOr<StoredAnew> StoreAnew(const handlers::UploadResources& resources,
                                     const storage::Version& version, storage::StorageForm form,
                                     ByteSource& plain) {
  content::Arrival arrival;
  arrival.client_id = version.client_id;
  arrival.file_name = version.file_name;
  arrival.encoding.size_bytes = version.size_bytes;
  arrival.form = form;
  arrival.version = version;
  StoredAnew anew(resources);
  anew.version_id = version.version_id;
  ASSIGN_OR_RETURN(handlers::PendingChunks::Stored stored,
                   anew.chunks.Store(
                       std::move(arrival),
                       [&]() -> absl::StatusOr<int64_t> { return version.version_id; }, plain));
  anew.content = std::move(stored.content);
  return anew;
}

absl::StatusOr<absl::string_view> PacedSource::Read() {
  const absl::StatusOr<absl::string_view> piece = source_.Read();
  error_ = piece.status();
  RETURN_IF_ERROR(error_);
  if (!pace_.Move(2 * std::ssize(*piece), token_)) return absl::CancelledError("stopped");
  return piece;
}

}  // namespace backup::jobs
