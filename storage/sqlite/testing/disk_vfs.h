#pragma once

#include <sqlite3.h>

#include <array>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/mutex.h"

namespace backup::storage {

// A SQLite VFS whose files are in a FileSystem, such as one in memory that a crash of the machine
// leaves what a disk may have then. It syncs what SQLite's own VFS for Unix does: a file, and with
// the first sync of a log the folder that it is in. Locks and the index of a log are shared within
// this process. Thread-safe.
class DiskVfs {
 public:
  static constexpr char kName[] = "disk";

  // Registers itself with SQLite, in the place of any other. `disk` must outlive this.
  explicit DiskVfs(FileSystem& disk);
  // No connection may be open.
  ~DiskVfs();
  DiskVfs(const DiskVfs&) = delete;
  DiskVfs& operator=(const DiskVfs&) = delete;

 private:
  friend struct DiskVfsMethods;

  // What those that have a database open share, by its path: who has which lock, and the index of
  // its log. It goes with the last of them, as it does with the processes of a machine.
  struct Shared {
    static constexpr size_t kSlots = SQLITE_SHM_NLOCK;
    struct Slot {
      int shared = 0;
      bool is_exclusive = false;
    };
    int users = 0;
    std::vector<int> levels;  // Of the lock on the database: of each who has one.
    std::vector<std::unique_ptr<std::byte[]>> index;
    std::array<Slot, kSlots> slots;
  };

  sqlite3_vfs vfs_ = {};
  FileSystem& disk_;
  Mutex mutex_;
  std::map<std::string, Shared> shared_ ABSL_GUARDED_BY(mutex_);
  int last_error_ ABSL_GUARDED_BY(mutex_) = 0;  // errno of what failed last.
};

}  // namespace backup::storage
