#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backup/v1/types.pb.h"
#include "base/byte_stream.h"
#include "services/backupctl/connection.h"
#include "services/backupctl/local_file.h"
#include "services/backupctl/progress_bar.h"

namespace backup::ctl {

// Streams the plaintext of `version`, which came from the service, into `sink`. OK only if its size
// and SHA-256 are those of `version`; otherwise discard what `sink` got. Reason BLOB_DAMAGED if
// they are not. Not tried again.
absl::Status Download(Connection& connection, const v1::FileVersion& version, ByteSink& sink,
                      ProgressBar& progress);

// Backs `file` up as `file_name` (the API's text form): uploads it, compares the answer with
// checksums of its own, and reports it as verified; or tries again, three times in all, and reports
// that it gives up. Returns the version as it is then. Internal if the file becomes shorter
// meanwhile, or no upload arrived intact.
absl::StatusOr<v1::FileVersion> BackUp(Connection& connection, const std::string& client_id,
                                       const std::string& file_name, const LocalFile& file,
                                       ProgressBar& progress);

}  // namespace backup::ctl
