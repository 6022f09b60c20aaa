#include "services/backup/catalog_location.h"

#include <cerrno>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/durable_file.h"
#include "base/status_macros.h"
#include "crypto/random.h"
#include "services/backup/blobs_location.h"
#include "storage/postgres/conninfo.h"

namespace backup {
namespace {

constexpr size_t kIdSize = 16;  // Before it is written in hex.
constexpr size_t kMaxLocationSize = 16 << 10;

std::string PathOf(const std::string& data_dir) {
  return absl::StrCat(data_dir, "/", kCatalogLocationName);
}

std::string TextOf(const CatalogLocation& location) {
  return absl::StrCat(location.conninfo, "\n", location.id, "\n");
}

// Whether it has blobs that are in a data directory.
absl::StatusOr<bool> HasLocalBlobs(storage::Catalog& catalog) {
  return catalog.Read([](storage::Snapshot& snapshot) -> absl::StatusOr<bool> {
    ASSIGN_OR_RETURN(const bool are_elsewhere, AreBlobsElsewhere(snapshot));
    if (are_elsewhere) return false;
    ASSIGN_OR_RETURN(const storage::Counts counts, snapshot.Count());
    return counts.packs > 0 || counts.blob_bytes > 0;
  });
}

}  // namespace

absl::Status CheckCatalogOptions(const CatalogOptions& options) {
  const std::string& conninfo = options.conninfo;
  if (conninfo.empty()) return absl::OkStatus();
  // It is a line of a file.
  if (conninfo.find('\n') != std::string::npos)
    return absl::InvalidArgumentError("it must be one line");
  RETURN_IF_ERROR(storage::CheckConninfo(conninfo));
  ASSIGN_OR_RETURN(const bool has_password, storage::HasPassword(conninfo));
  if (!has_password) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "it has a password, which others could see here: give that in a file of passwords "
      "(passfile=FILE in it, or PGPASSFILE in the environment) or in a service file of libpq");
}

absl::StatusOr<std::optional<CatalogLocation>> FindCatalogLocation(const std::string& data_dir) {
  const std::string path = PathOf(data_dir);
  const std::optional<std::string> text = ReadSmallFile(path, kMaxLocationSize);
  if (!text && errno == ENOENT) return std::nullopt;
  if (!text) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
  const std::vector<std::string> lines = absl::StrSplit(*text, '\n');
  if (lines.size() != 3 || lines[0].empty() || lines[1].size() != 2 * kIdSize ||
      !lines[2].empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is not whole: get it back from a copy, or give another --data_dir"));
  }
  return CatalogLocation{lines[0], lines[1]};
}

absl::Status CheckCatalogIsHere(const std::string& data_dir) {
  ASSIGN_OR_RETURN(const std::optional<CatalogLocation> elsewhere, FindCatalogLocation(data_dir));
  if (!elsewhere) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the catalog of ", data_dir, " is in ", DescribeCatalog(elsewhere->conninfo),
      ": back that database up, and get it back, by the tools of PostgreSQL (docs/operations.md); "
      "then `backupctl state accept` goes on with what is older than the store"));
}

std::string DescribeCatalog(const std::string& conninfo) {
  return storage::DescribeConninfo(conninfo).value_or("PostgreSQL");
}

absl::StatusOr<std::optional<std::string>> FindCatalogId(storage::Catalog& catalog) {
  return catalog.Read(
      [](storage::Snapshot& snapshot) { return snapshot.FindStoreValue(kCatalogIdValue); });
}

absl::Status CheckIsOfCatalog(const std::optional<CatalogLocation>& said, bool has_data,
                              storage::Catalog& catalog) {
  ASSIGN_OR_RETURN(const std::optional<std::string> id, FindCatalogId(catalog));
  if (said && said->id == id) return absl::OkStatus();
  if (said) {
    return absl::FailedPreconditionError(absl::StrCat(
        "it is of another catalog (", said->id, ", in ", DescribeCatalog(said->conninfo), ") than ",
        id ? absl::StrCat("this one (", *id, ")") : "this one, which is empty",
        ": correct --catalog, get the database back from its backup, or give another --data_dir"));
  }
  if (has_data) {
    return absl::FailedPreconditionError(
        "it has blobs or snapshots of another catalog, which would be lost from sight: start "
        "without --catalog, or with another --data_dir");
  }
  ASSIGN_OR_RETURN(const bool has_blobs_elsewhere, HasLocalBlobs(catalog));
  if (!has_blobs_elsewhere) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the blobs of this catalog are in another data directory: give that one as --data_dir");
}

absl::Status JoinCatalog(const std::string& data_dir, const std::string& conninfo,
                         storage::Catalog& catalog) {
  ASSIGN_OR_RETURN(std::optional<std::string> id, FindCatalogId(catalog));
  if (!id) {
    id = absl::BytesToHexString(crypto::RandomBytes(kIdSize));
    // First there: a directory that says more than its catalog would be refused.
    RETURN_IF_ERROR(catalog.Run([&](storage::Transaction& transaction) {
      return transaction.SetStoreValue(kCatalogIdValue, *id);
    }));
  }
  const CatalogLocation location = {conninfo, *id};
  const auto known = FindCatalogLocation(data_dir);
  // A full disk keeps nobody from starting.
  if (known.ok() && *known == location) return absl::OkStatus();
  if (ReplaceFile(PathOf(data_dir), TextOf(location))) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", PathOf(data_dir)));
}

}  // namespace backup
