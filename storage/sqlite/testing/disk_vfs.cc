#include "storage/sqlite/testing/disk_vfs.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/string_view.h"
#include "glog/logging.h"

namespace backup::storage {
namespace {

// What there is behind a file of SQLite's.
struct State {
  DiskVfs* vfs = nullptr;
  std::string path;
  std::unique_ptr<File> file;
  int level = SQLITE_LOCK_NONE;
  // A log that was made by this: its name is to be synced with it.
  bool name_is_new = false;
  unsigned shared_slots = 0;     // Of the index that this has locked, a bit each,
  unsigned exclusive_slots = 0;  // and alone.
  bool has_index = false;
};
struct DiskFile {
  sqlite3_file base;
  State* state;
};

State& Of(sqlite3_file* file) { return *reinterpret_cast<DiskFile*>(file)->state; }

std::string FolderOf(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

}  // namespace

// The methods of files and of the VFS, with access to what the connections share.
struct DiskVfsMethods {
  static DiskVfs& Vfs(sqlite3_vfs* vfs) { return *static_cast<DiskVfs*>(vfs->pAppData); }
  // Notes why.
  static int Fail(DiskVfs& vfs, int code) {
    const int error = errno;
    MutexLock lock(vfs.mutex_);
    vfs.last_error_ = error;
    return error == ENOSPC ? SQLITE_FULL : code;
  }

  static int Close(sqlite3_file* file) {
    Unlock(file, SQLITE_LOCK_NONE);
    ShmUnmap(file, 0);
    delete reinterpret_cast<DiskFile*>(file)->state;
    return SQLITE_OK;
  }

  static int Read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
    const std::span<char> bytes(static_cast<char*>(out), static_cast<size_t>(size));
    const ssize_t read = Of(file).file->ReadAt(offset, bytes);
    if (read < 0) return Fail(*Of(file).vfs, SQLITE_IOERR_READ);
    if (read == size) return SQLITE_OK;
    std::ranges::fill(bytes.subspan(static_cast<size_t>(read)), '\0');
    return SQLITE_IOERR_SHORT_READ;
  }

  static int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
    absl::string_view bytes(static_cast<const char*>(data), static_cast<size_t>(size));
    while (!bytes.empty()) {
      const ssize_t written = Of(file).file->WriteAt(offset, bytes);
      if (written < 0) return Fail(*Of(file).vfs, SQLITE_IOERR_WRITE);
      bytes.remove_prefix(static_cast<size_t>(written));
      offset += written;
    }
    return SQLITE_OK;
  }

  static int Truncate(sqlite3_file* file, sqlite3_int64 size) {
    if (Of(file).file->SetSize(size)) return SQLITE_OK;
    return Fail(*Of(file).vfs, SQLITE_IOERR_TRUNCATE);
  }

  static int Sync(sqlite3_file* file, int /*flags*/) {
    State& state = Of(file);
    if (!state.file->Sync()) return Fail(*state.vfs, SQLITE_IOERR_FSYNC);
    // As SQLite's own, which does not mind if that fails.
    if (std::exchange(state.name_is_new, false)) state.vfs->disk_.SyncFolder(FolderOf(state.path));
    return SQLITE_OK;
  }

  static int Size(sqlite3_file* file, sqlite3_int64* size) {
    const std::optional<int64_t> bytes = Of(file).file->SizeBytes();
    if (!bytes) return Fail(*Of(file).vfs, SQLITE_IOERR_FSTAT);
    *size = *bytes;
    return SQLITE_OK;
  }

  // Locks of the database (sqlite.org/lockingv3.html).
  static int Lock(sqlite3_file* file, int level) {
    State& state = Of(file);
    MutexLock lock(state.vfs->mutex_);
    std::vector<int>& levels = state.vfs->shared_[state.path].levels;
    if (state.level >= level) return SQLITE_OK;
    std::vector<int> others = levels;
    if (state.level != SQLITE_LOCK_NONE) others.erase(std::ranges::find(others, state.level));
    const int highest = others.empty() ? int{SQLITE_LOCK_NONE} : *std::ranges::max_element(others);
    const int most = level == SQLITE_LOCK_SHARED      ? SQLITE_LOCK_RESERVED
                     : level == SQLITE_LOCK_EXCLUSIVE ? SQLITE_LOCK_NONE
                                                      : SQLITE_LOCK_SHARED;
    if (highest > most) return SQLITE_BUSY;
    others.push_back(level);
    levels = std::move(others);
    state.level = level;
    return SQLITE_OK;
  }

  static int Unlock(sqlite3_file* file, int level) {
    State& state = Of(file);
    if (state.level <= level) return SQLITE_OK;
    MutexLock lock(state.vfs->mutex_);
    std::vector<int>& levels = state.vfs->shared_[state.path].levels;
    levels.erase(std::ranges::find(levels, state.level));
    if (level != SQLITE_LOCK_NONE) levels.push_back(level);
    state.level = level;
    return SQLITE_OK;
  }

  static int CheckReserved(sqlite3_file* file, int* is_reserved) {
    State& state = Of(file);
    MutexLock lock(state.vfs->mutex_);
    *is_reserved = std::ranges::any_of(state.vfs->shared_[state.path].levels,
                                       [](int level) { return level >= SQLITE_LOCK_RESERVED; });
    return SQLITE_OK;
  }

  static int Control(sqlite3_file* /*file*/, int /*op*/, void* /*argument*/) {
    return SQLITE_NOTFOUND;
  }
  // As SQLite's own says of disks: a sector that is written in part keeps the rest.
  static int SectorSize(sqlite3_file* /*file*/) { return 4096; }
  static int Characteristics(sqlite3_file* /*file*/) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

  // The index of the log.
  static int ShmMap(sqlite3_file* file, int region, int size, int extend, void volatile** out) {
    State& state = Of(file);
    MutexLock lock(state.vfs->mutex_);
    DiskVfs::Shared& shared = state.vfs->shared_[state.path];
    if (!std::exchange(state.has_index, true)) ++shared.users;
    *out = nullptr;
    if (std::ssize(shared.index) <= region && extend == 0) return SQLITE_OK;
    while (std::ssize(shared.index) <= region)
      shared.index.push_back(std::make_unique<std::byte[]>(static_cast<size_t>(size)));
    *out = shared.index[static_cast<size_t>(region)].get();
    return SQLITE_OK;
  }

  static int ShmLock(sqlite3_file* file, int offset, int count, int flags) {
    State& state = Of(file);
    MutexLock lock(state.vfs->mutex_);
    auto& slots = state.vfs->shared_[state.path].slots;
    const bool is_exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
    const bool takes = (flags & SQLITE_SHM_LOCK) != 0;
    for (int i = offset; takes && i < offset + count; ++i) {
      const auto& slot = slots.at(static_cast<size_t>(i));
      const bool has_it = (state.shared_slots & (1U << i)) != 0;
      if (slot.is_exclusive || (is_exclusive && slot.shared > (has_it ? 1 : 0))) return SQLITE_BUSY;
    }
    for (int i = offset; i < offset + count; ++i) {
      auto& slot = slots.at(static_cast<size_t>(i));
      unsigned& mine = is_exclusive ? state.exclusive_slots : state.shared_slots;
      if (((mine & (1U << i)) != 0) == takes) continue;
      mine ^= 1U << i;
      if (is_exclusive) slot.is_exclusive = takes;
      if (!is_exclusive) slot.shared += takes ? 1 : -1;
    }
    return SQLITE_OK;
  }

  static void ShmBarrier(sqlite3_file* file) { MutexLock lock(Of(file).vfs->mutex_); }

  static int ShmUnmap(sqlite3_file* file, int /*remove*/) {
    State& state = Of(file);
    for (int i = 0; i < SQLITE_SHM_NLOCK; ++i) {
      ShmLock(file, i, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED);
      ShmLock(file, i, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
    }
    MutexLock lock(state.vfs->mutex_);
    DiskVfs::Shared& shared = state.vfs->shared_[state.path];
    if (std::exchange(state.has_index, false) && --shared.users == 0) shared.index.clear();
    return SQLITE_OK;
  }

  static int Open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags,
                  int* out_flags);

  static int Delete(sqlite3_vfs* vfs, const char* path, int sync_folder) {
    FileSystem& disk = Vfs(vfs).disk_;
    if (!disk.Remove(path))
      return errno == ENOENT ? SQLITE_IOERR_DELETE_NOENT : Fail(Vfs(vfs), SQLITE_IOERR_DELETE);
    if (sync_folder != 0 && !disk.SyncFolder(FolderOf(path)))
      return Fail(Vfs(vfs), SQLITE_IOERR_DIR_FSYNC);
    return SQLITE_OK;
  }

  // Whether it is there; as SQLite's own, not if it is empty.
  static int Access(sqlite3_vfs* vfs, const char* path, int /*flags*/, int* is_there) {
    const std::unique_ptr<File> file = Vfs(vfs).disk_.Open(path, 0);
    *is_there = file != nullptr && file->SizeBytes().value_or(0) > 0;
    return SQLITE_OK;
  }

  static int FullPath(sqlite3_vfs* /*vfs*/, const char* path, int size, char* out) {
    if (std::strlen(path) >= static_cast<size_t>(size)) return SQLITE_CANTOPEN;
    std::strcpy(out, path);
    return SQLITE_OK;
  }

  static int LastError(sqlite3_vfs* vfs, int /*size*/, char* /*out*/) {
    MutexLock lock(Vfs(vfs).mutex_);
    return Vfs(vfs).last_error_;
  }
};

namespace {

using M = DiskVfsMethods;

// Version 2: with shared memory for the log's index, without memory mapping.
constexpr sqlite3_io_methods kMethods = {
    2,
    M::Close,
    M::Read,
    M::Write,
    M::Truncate,
    M::Sync,
    M::Size,
    M::Lock,
    M::Unlock,
    M::CheckReserved,
    M::Control,
    M::SectorSize,
    M::Characteristics,
    M::ShmMap,
    M::ShmLock,
    M::ShmBarrier,
    M::ShmUnmap,
    nullptr,
    nullptr,
};

}  // namespace

int DiskVfsMethods::Open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags,
                         int* out_flags) {
  file->pMethods = nullptr;
  FileSystem& disk = Vfs(vfs).disk_;
  auto state = std::make_unique<State>();
  state->vfs = &Vfs(vfs);
  state->path = path;
  state->file = disk.Open(path, 0);
  if (state->file == nullptr && errno == ENOENT && (flags & SQLITE_OPEN_CREATE) != 0) {
    state->file = disk.Create(path, 0);
    state->name_is_new = (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
  }
  if (state->file == nullptr) return Fail(Vfs(vfs), SQLITE_CANTOPEN);
  if (out_flags != nullptr) *out_flags = flags;
  reinterpret_cast<DiskFile*>(file)->state = state.release();
  file->pMethods = &kMethods;
  return SQLITE_OK;
}

DiskVfs::DiskVfs(FileSystem& disk) : vfs_(*sqlite3_vfs_find(nullptr)), disk_(disk) {
  vfs_.szOsFile = sizeof(DiskFile);
  vfs_.zName = kName;
  vfs_.pNext = nullptr;
  vfs_.pAppData = this;
  vfs_.xOpen = M::Open;
  vfs_.xDelete = M::Delete;
  vfs_.xAccess = M::Access;
  vfs_.xFullPathname = M::FullPath;
  vfs_.xGetLastError = M::LastError;
  CHECK_EQ(sqlite3_vfs_register(&vfs_, /*makeDflt=*/0), SQLITE_OK);
}

DiskVfs::~DiskVfs() { sqlite3_vfs_unregister(&vfs_); }

}  // namespace backup::storage
