#pragma once

#include <cstdint>
#include <stop_token>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/backup/handlers/open_content.h"
#include "services/backup/handlers/pending_chunks.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/jobs/pace.h"
#include "storage/catalog/chunk.h"
#include "storage/catalog/types.h"
#include "storage/catalog/version.h"

namespace backup::jobs {

// A version's content, stored as a new upload's would be, on its way into the catalog: a
// transaction puts it in the place of what the version has, then `chunks` is told of its end.
struct StoredAnew {
  explicit StoredAnew(const handlers::UploadResources& resources) : chunks(resources) {}

  int64_t version_id = 0;
  storage::NewChunks content;
  handlers::PendingChunks chunks;
};

// Where a content is, how fast it may be read, and what became of that.
struct OldContent {
  const handlers::StoredPlaces& places;
  const storage::StoredVersion& stored;
  Pace& pace;
  const std::stop_token& token;
  absl::Status& unread;  // What it cannot be opened or read for.
};

// Stores `old`, which is all of the version's plaintext, in this form, kPlain or kSealed. Errors as
// OpenContent() and PendingChunks::Store().
absl::StatusOr<StoredAnew> StoreAnew(const handlers::UploadResources& resources,
                                     const OldContent& old, const storage::Version& version,
                                     storage::StorageForm form);

}  // namespace backup::jobs
