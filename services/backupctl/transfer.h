#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backup/v1/ingest.pb.h"
#include "backup/v1/types.pb.h"
#include "base/byte_stream.h"
#include "base/checksum.h"
#include "crypto/sha256.h"
#include "services/backupctl/connection.h"
#include "services/backupctl/local_file.h"
#include "services/backupctl/progress_bar.h"

namespace backup::ctl {

// Streams the plaintext of `version`, which came from the service, into `sink`. OK only if its size
// and SHA-256 are those of `version`; otherwise discard what `sink` got. Reason BLOB_DAMAGED if
// they are not. Not tried again.
absl::Status Download(Connection& connection, const v1::FileVersion& version, ByteSink& sink);

// What is known of a file once it was sent.
struct UploadMeasures {
  Cksum cksum;
  crypto::Sha256 sha256;
};

// Sends all that `source` yields, once, as `header` says; gathers `measures` of it. An answer that
// comes early, because the service knows the upload id already, ends the sending but not the
// measuring. The version is not confirmed yet.
absl::StatusOr<v1::UploadFileResponse> Upload(Connection& connection,
                                              const v1::UploadFileHeader& header,
                                              ByteSource& source, UploadMeasures& measures,
                                              ProgressBar& progress);

// Tells the service what became of the upload that `header`, with an upload id, began; with its
// receive_time, if it has one, as the time of that.
absl::Status Report(Connection& connection, const v1::UploadFileHeader& header,
                    v1::ReportTransferRequest::Outcome outcome);

// Backs `file` up as `file_name` (the API's text form): uploads it, compares the answer with
// checksums of its own, and reports it as verified; or tries again, three times in all, and reports
// that it gives up. Returns the version as it is then. Internal if the file becomes shorter
// meanwhile, or no upload arrived intact.
absl::StatusOr<v1::FileVersion> BackUp(Connection& connection, const std::string& client_id,
                                       const std::string& file_name, const LocalFile& file,
                                       ProgressBar& progress);

}  // namespace backup::ctl
