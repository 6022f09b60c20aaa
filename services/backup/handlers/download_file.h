#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "backup/v1/backup.pb.h"
#include "base/byte_stream.h"
#include "base/read_ahead_source.h"
#include "services/backup/handlers/stored_content.h"

namespace backup::handlers {

struct Download {
  v1::FileVersion version;
  std::unique_ptr<StoredContent> content;
  std::unique_ptr<LastingSource> range;         // Reads from `content`.
  std::unique_ptr<ReadAheadSource> read_ahead;  // Reads `range`; not always there.

  LastingSource& bytes() const { return read_ahead ? *read_ahead : *range; }
};

// Opens what a download asks for; the caller reads bytes() to the end.
absl::StatusOr<Download> DownloadFile(storage::Catalog& catalog, const storage::BlobStore& blobs,
                                      const crypto::MasterKey& master_key,
                                      const v1::DownloadFileRequest& request);

}  // namespace backup::handlers
