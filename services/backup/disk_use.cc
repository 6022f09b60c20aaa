#include "services/backup/disk_use.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "services/backup/open_storage.h"
#include "storage/snapshot_folder.h"
#include "storage/space_reserve.h"

namespace backup {
namespace {

absl::StatusOr<int64_t> LookAtCatalog(const std::string& data_dir) {
  const std::string path = absl::StrCat(data_dir, "/", kCatalogName);
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) return absl::ErrnoToStatus(error.value(), absl::StrCat("cannot look at ", path));
  return static_cast<int64_t>(size);
}

absl::StatusOr<int64_t> LookAtRoom(const std::string& data_dir) {
  ASSIGN_OR_RETURN(const FreeSpace space, LookAt(data_dir));
  return RoomOf(space);
}

absl::StatusOr<handlers::KeptSnapshots> LookAtSnapshots(const std::string& data_dir) {
  const storage::SnapshotFolder folder(absl::StrCat(data_dir, "/", kSnapshotFolderName));
  ASSIGN_OR_RETURN(const std::vector<storage::SnapshotFolder::Entry> entries, folder.List());
  handlers::KeptSnapshots kept;
  for (const storage::SnapshotFolder::Entry& entry : entries) kept.size_bytes += entry.size_bytes;
  kept.count = std::ssize(entries);
  if (!entries.empty()) kept.newest_time = entries.front().time;
  return kept;
}

}  // namespace

int64_t RoomOf(const FreeSpace& space) {
  return std::max<int64_t>(space.free_bytes - storage::SpaceReserve::SizeFor(space.disk_bytes), 0);
}

handlers::DiskUse LookAtDisk(const std::string& data_dir, storage::Catalog& catalog,
                             bool has_remote_blobs) {
  if (catalog.is_elsewhere()) {
    return {catalog.SizeBytes(), LookAtRoom(data_dir),
            absl::UnimplementedError("there are no snapshots"), has_remote_blobs,
            /*has_remote_catalog=*/true};
  }
  return {LookAtCatalog(data_dir), LookAtRoom(data_dir), LookAtSnapshots(data_dir),
          has_remote_blobs};
}

}  // namespace backup
