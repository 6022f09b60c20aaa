#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/catalog/catalog.h"

namespace backup {

// How far the catalog of a store has come, in a small file beside it, so that an older copy that is
// put in its place is noticed: the store went on without that, and what it knows of blobs is not
// true any more (docs/adr/0038). It only ever tells what was durable in the catalog before, so it
// is never ahead of the catalog that it is of; a few minutes behind is usual.
struct CatalogMark {
  int64_t next_version_id = 0;
  int64_t epoch = 0;

  bool operator==(const CatalogMark&) const = default;
};

// DATA_DIR/catalog.mark.
std::string CatalogMarkPath(const std::string& data_dir);
// What the file says; zeros if there is none, or it says nothing.
CatalogMark ReadCatalogMark(const std::string& data_dir);
// Writes down how far `catalog` is, unless that is what the file says; durable if OK.
absl::Status WriteCatalogMark(const std::string& data_dir, storage::Catalog& catalog);
// Reason STATE_CORRUPT, with what to do about it, if `catalog` is behind the mark.
absl::Status CheckCatalogMark(const std::string& data_dir, storage::Catalog& catalog);

}  // namespace backup
