#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace backup::bench {

// Runs `statements` on the catalog at `path`, which nobody else uses, with neither its triggers nor
// its indexes: these are made again at the end, which takes seconds for millions of rows.
absl::Status FillCatalog(const std::string& path, const std::string& statements);

// Whether the program that made the catalog knows this column.
absl::StatusOr<bool> HasColumn(const std::string& path, const std::string& table,
                               const std::string& column);

// Fills a new catalog with `versions` verified versions, a multiple of 100 000, of 1000 clients
// with 100 files each, one a day of each file, the newest one of 24 hours ago. Each has a content
// of its own, of `payload_bytes` in the catalog.
absl::Status FillWithDailyVersions(const std::string& path, int64_t versions,
                                   int64_t payload_bytes);

}  // namespace backup::bench
