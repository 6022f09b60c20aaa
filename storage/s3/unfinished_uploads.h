#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/s3/answers.h"
#include "storage/s3/s3_client.h"

namespace backup::storage::s3 {

// Calls `visit` for every upload of parts that was begun for an object whose key has this prefix
// and is neither completed nor aborted, until it returns an error, which is returned. Errors:
// ToStatus(), reason STORAGE_IO.
absl::Status ListUploads(S3Client& client, absl::string_view prefix,
                         const std::function<absl::Status(const ListedUpload&)>& visit);

// Aborts those for one object, but for the one with the id `spared`, if that is not empty.
absl::Status AbortUploads(S3Client& client, absl::string_view key, absl::string_view spared);

}  // namespace backup::storage::s3
