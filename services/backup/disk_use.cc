#include "services/backup/disk_use.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/backup/free_space.h"
#include "services/backup/open_storage.h"
#include "storage/snapshot_folder.h"
#include "storage/space_reserve.h"

namespace backup {
namespace {

handlers::KeptSnapshots LookAtSnapshots(const std::string& data_dir) {
  handlers::KeptSnapshots kept;
  const storage::SnapshotFolder folder(absl::StrCat(data_dir, "/", kSnapshotFolderName));
  const absl::StatusOr<std::vector<storage::SnapshotFolder::Entry>> entries = folder.List();
  if (!entries.ok() || entries->empty()) return kept;
  for (const storage::SnapshotFolder::Entry& entry : *entries) kept.size_bytes += entry.size_bytes;
  kept.count = std::ssize(*entries);
  kept.newest_time = entries->front().time;
  return kept;
}

}  // namespace

handlers::DiskUse LookAtDisk(const std::string& data_dir) {
  handlers::DiskUse disk;
  std::error_code error;
  const auto catalog_bytes =
      std::filesystem::file_size(absl::StrCat(data_dir, "/", kCatalogName), error);
  if (!error) disk.catalog_bytes = static_cast<int64_t>(catalog_bytes);
  if (const absl::StatusOr<FreeSpace> found = LookAt(data_dir); found.ok()) {
    disk.room_bytes =
        std::max<int64_t>(found->free_bytes - storage::SpaceReserve::SizeFor(found->disk_bytes), 0);
  }
  disk.snapshots = LookAtSnapshots(data_dir);
  return disk;
}

}  // namespace backup
