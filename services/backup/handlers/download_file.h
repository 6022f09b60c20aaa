#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "backup/v1/catalog.pb.h"
#include "backup/v1/types.pb.h"
#include "base/byte_stream.h"
#include "base/stage_resources.h"
#include "crypto/master_key.h"
#include "storage/blob_store.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

struct Download {
  v1::FileVersion version;
  std::unique_ptr<ByteSource> bytes;
};

// Opens what a download asks for; the caller reads `bytes` to the end. A version that is deleted
// before its content is open is reason VERSION_NOT_FOUND; later, the download goes on. What is
// borrowed must outlive `bytes`.
absl::StatusOr<Download> DownloadFile(storage::Catalog& catalog, const storage::BlobStore& blobs,
                                      const crypto::MasterKey& master_key, StageResources& stages,
                                      const v1::DownloadFileRequest& request);

}  // namespace backup::handlers
