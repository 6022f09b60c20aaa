#include "services/backup/catalog_mark.h"

#include <cerrno>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "base/status_macros.h"

namespace backup {
namespace {

// Two numbers of 20 digits at most.
constexpr size_t kMaxMarkSize = 64;

absl::StatusOr<CatalogMark> MarkOf(storage::Catalog& catalog) {
  return catalog.Read([](storage::Snapshot& snapshot) -> absl::StatusOr<CatalogMark> {
    CatalogMark mark;
    ASSIGN_OR_RETURN(mark.next_version_id, snapshot.NextVersionId());
    ASSIGN_OR_RETURN(mark.epoch, snapshot.Epoch());
    return mark;
  });
}

}  // namespace

std::string CatalogMarkPath(const std::string& data_dir) {
  return absl::StrCat(data_dir, "/catalog.mark");
}

CatalogMark ReadCatalogMark(const std::string& data_dir) {
  const std::string text = ReadSmallFile(CatalogMarkPath(data_dir), kMaxMarkSize).value_or("");
  const std::vector<absl::string_view> fields =
      absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  CatalogMark mark;
  if (fields.size() != 2 || !absl::SimpleAtoi(fields[0], &mark.next_version_id) ||
      !absl::SimpleAtoi(fields[1], &mark.epoch))
    return CatalogMark();
  return mark;
}

absl::Status WriteCatalogMark(const std::string& data_dir, storage::Catalog& catalog) {
  ASSIGN_OR_RETURN(const CatalogMark mark, MarkOf(catalog));
  if (mark == ReadCatalogMark(data_dir)) return absl::OkStatus();
  const std::string path = CatalogMarkPath(data_dir);
  if (!ReplaceFile(path, absl::StrCat(mark.next_version_id, " ", mark.epoch, "\n")))
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

absl::Status CheckCatalogMark(const std::string& data_dir, storage::Catalog& catalog) {
  const CatalogMark mark = ReadCatalogMark(data_dir);
  ASSIGN_OR_RETURN(const CatalogMark is, MarkOf(catalog));
  if (is.next_version_id >= mark.next_version_id && is.epoch >= mark.epoch) return absl::OkStatus();
  const absl::string_view remedy = catalog.is_elsewhere()
                                       ? "get a newer copy of the database back"
                                       : "run `backupctl state rebuild`, which takes in what it "
                                         "does not know";
  return MakeError(
      Reason::kStateCorrupt,
      absl::StrCat("the catalog is older than the store (it knows of versions below ",
                   is.next_version_id, ", there were some up to ", mark.next_version_id,
                   "): ", remedy, ", or `backupctl state accept` to go on without that"),
      "catalog");
}

}  // namespace backup
