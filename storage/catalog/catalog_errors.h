#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "base/ids.h"

// Errors of catalogs, whatever keeps them.
namespace backup::storage {

// Errors that name what was not found.
absl::Status ClientNotFound(const ClientId& id);
absl::Status ClientNotFoundByName(const std::string& name);
absl::Status FileNotFound(const std::string& file_name);
absl::Status VersionNotFound(const std::string& file_name, int64_t version_id);
// Of a verdict: the file has no version that this upload made.
absl::Status UploadNotFound(const std::string& file_name);

// Reason BACKEND_DOWN: something that an upload brought or found is gone.
absl::Status LostSight();

}  // namespace backup::storage
