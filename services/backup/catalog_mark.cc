#include "services/backup/catalog_mark.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"

namespace backup {
namespace {

absl::StatusOr<CatalogMark> MarkOf(storage::Catalog& catalog) {
  return catalog.Read([](storage::Snapshot& snapshot) -> absl::StatusOr<CatalogMark> {
    CatalogMark mark;
    ASSIGN_OR_RETURN(mark.next_version_id, snapshot.NextVersionId());
    ASSIGN_OR_RETURN(mark.epoch, snapshot.Epoch());
    return mark;
  });
}

bool Sync(const std::string& path, int flags) {
  const UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC));
  return file.valid() && ::fsync(file.get()) == 0;
}

}  // namespace

std::string CatalogMarkPath(const std::string& data_dir) {
  return absl::StrCat(data_dir, "/catalog.mark");
}

CatalogMark ReadCatalogMark(const std::string& data_dir) {
  std::ifstream file(CatalogMarkPath(data_dir));
  CatalogMark mark;
  if (!(file >> mark.next_version_id >> mark.epoch)) return CatalogMark();
  return mark;
}

absl::Status WriteCatalogMark(const std::string& data_dir, storage::Catalog& catalog) {
  ASSIGN_OR_RETURN(const CatalogMark mark, MarkOf(catalog));
  if (mark == ReadCatalogMark(data_dir)) return absl::OkStatus();
  const std::string path = CatalogMarkPath(data_dir);
  const std::string beside = absl::StrCat(path, ".new");
  {
    const UniqueFd file(
        ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    const std::string text = absl::StrCat(mark.next_version_id, " ", mark.epoch, "\n");
    if (!file.valid() || ::write(file.get(), text.data(), text.size()) != std::ssize(text) ||
        ::fsync(file.get()) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", beside));
    }
  }
  if (::rename(beside.c_str(), path.c_str()) != 0 || !Sync(data_dir, O_RDONLY | O_DIRECTORY))
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

absl::Status CheckCatalogMark(const std::string& data_dir, storage::Catalog& catalog) {
  const CatalogMark mark = ReadCatalogMark(data_dir);
  ASSIGN_OR_RETURN(const CatalogMark is, MarkOf(catalog));
  if (is.next_version_id >= mark.next_version_id && is.epoch >= mark.epoch) return absl::OkStatus();
  return MakeError(
      Reason::kStateCorrupt,
      absl::StrCat("the catalog is older than the store (it knows of versions below ",
                   is.next_version_id, ", there were some up to ", mark.next_version_id,
                   "): run `backupctl state rebuild`, which takes in what it does not know, or "
                   "`backupctl state accept` to go on without that"),
      "catalog");
}

}  // namespace backup
