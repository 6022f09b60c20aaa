#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "services/backup/copy_blobs.h"
#include "storage/catalog/tables.h"

namespace backup {

// Values of the store (Snapshot::FindStoreValue) that a copy does not take over, as they say where
// something is; and those that it has in their place.
struct PlaceValues {
  std::vector<std::string> left_out;  // Also what an earlier copy was given.
  std::vector<std::pair<std::string, std::string>> given;
};

struct TableCopy {
  std::string table;
  int64_t rows = 0;
  std::string sha256;  // Of all its rows, in the order of their keys: 64 hex digits.
};

struct RowCopyReport {
  std::vector<TableCopy> tables;
  // Blobs that a row names and `has_blob` does not know.
  std::vector<std::string> missing;
  int64_t missing_count = 0;  // Also of those that are not named.
};

// Copies all rows and counters into `target`, reads all of it back from there, and compares counts
// and digests; what is not to be copied is PlaceValues. Not committed yet. DataLoss if what came
// back is something else; else errors of both sides.
absl::StatusOr<RowCopyReport> CopyRows(storage::CatalogRows& source,
                                       storage::NewCatalogRows& target, const PlaceValues& values,
                                       const std::function<bool(const BlobId&)>& has_blob,
                                       const MigrationListener& listener);

}  // namespace backup
