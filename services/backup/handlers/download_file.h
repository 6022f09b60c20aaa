#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "backup/v1/catalog.pb.h"
#include "backup/v1/types.pb.h"
#include "base/byte_stream.h"
#include "base/stage_resources.h"
#include "services/backup/handlers/open_content.h"

namespace backup::handlers {

struct Download {
  v1::FileVersion version;
  std::unique_ptr<ByteSource> bytes;
};

// Opens what a download asks for; the caller reads `bytes` to the end. A version that is deleted
// before its content is open is reason VERSION_NOT_FOUND; later, the download goes on with what is
// open, which is all of it or the pack that it is at, and then ends with that reason. What is
// borrowed must outlive `bytes`.
absl::StatusOr<Download> DownloadFile(const StoredPlaces& places, StageResources& stages,
                                      const v1::DownloadFileRequest& request);

}  // namespace backup::handlers
