#include "storage/sqlite/durable_growth.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "glog/logging.h"

namespace backup::storage {
namespace {

// A file grows by an eighth of itself, within these: few syncs, and little that is of no use.
constexpr sqlite3_int64 kMinGrowth = 256 << 10;
constexpr sqlite3_int64 kMaxGrowth = 1 << 20;
// SQLite's own VFS takes less than 128 KiB in one call (seekAndWriteFd() in its os_unix.c).
constexpr sqlite3_int64 kPiece = 64 << 10;
// Where the log's index has the number of frames that checkpoints copied
// (sqlite.org/walformat.html, "WAL-Index Header").
constexpr size_t kBackfilledOffset = 96;

// What SQLite sees of a file; the one below is behind it in the same memory.
struct GrowingFile {
  sqlite3_file base;
  bool is_kept;  // The database or its log; all others begin anew with each use.
  bool is_log;
  bool sync_failed;      // When it grew: so the next sync fails, too.
  volatile void* index;  // The log's, of a database that has one.
  sqlite3_file* below() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

GrowingFile* Of(sqlite3_file* file) { return reinterpret_cast<GrowingFile*>(file); }

template <auto kMethod, typename... Args>
int PassOn(sqlite3_file* file, Args... args) {
  sqlite3_file* const below = Of(file)->below();
  return (below->pMethods->*kMethod)(below, args...);
}

void ShmBarrier(sqlite3_file* file) {
  sqlite3_file* const below = Of(file)->below();
  below->pMethods->xShmBarrier(below);
}

// Writes zeros to [begin, end), which is the end of `file`, or cuts it off where they begin.
int WriteZeros(sqlite3_file* file, sqlite3_int64 begin, sqlite3_int64 end) {
  static const std::vector<char> zeros(kPiece);
  for (sqlite3_int64 offset = begin; offset < end; offset += kPiece) {
    const int size = static_cast<int>(std::min(end - offset, kPiece));
    const int code = file->pMethods->xWrite(file, zeros.data(), size, offset);
    if (code == SQLITE_OK) continue;
    file->pMethods->xTruncate(file, begin);
    return code;
  }
  return SQLITE_OK;
}

// Has `file` grow to `needed` bytes, if it is smaller, or to `wanted` if there is room for that.
int GrowTo(GrowingFile* self, sqlite3_int64 needed, sqlite3_int64 wanted) {
  sqlite3_file* const file = self->below();
  sqlite3_int64 size = 0;
  // Asked each time, since another connection may have cut it off.
  if (const int code = file->pMethods->xFileSize(file, &size); code != SQLITE_OK) return code;
  if (needed <= size) return SQLITE_OK;
  if (wanted <= needed || WriteZeros(file, size, wanted) != SQLITE_OK) {
    if (const int code = WriteZeros(file, size, needed); code != SQLITE_OK) return code;
  }
  if (file->pMethods->xSync(file, SQLITE_SYNC_NORMAL) == SQLITE_OK) return SQLITE_OK;
  // The write to a log, and with it the transaction, fails at once.
  self->sync_failed = !self->is_log;
  // If that fails too, nothing is written to this file system before it is mounted anew.
  file->pMethods->xTruncate(file, size);
  return SQLITE_IOERR_WRITE;
}

int Write(sqlite3_file* file, const void* data, int size_bytes, sqlite3_int64 offset) {
  if (Of(file)->is_kept) {
    const sqlite3_int64 more = std::clamp(offset / 8, kMinGrowth, kMaxGrowth);
    const int code = GrowTo(Of(file), offset + size_bytes, offset + more);
    if (code != SQLITE_OK) return code;
  }
  return PassOn<&sqlite3_io_methods::xWrite>(file, data, size_bytes, offset);
}

// What a sync failed on may have been written by a checkpoint before this one, which noted that it
// is in the database: all of the log has to be copied again. Only a checkpoint syncs a database
// that has a log, so the lock for that is held.
void ForgetCheckpoints(volatile void* index) {
  if (index == nullptr) return;
  auto* const backfilled =
      reinterpret_cast<volatile uint32_t*>(static_cast<volatile char*>(index) + kBackfilledOffset);
  __atomic_store_n(backfilled, 0, __ATOMIC_SEQ_CST);
}

int Sync(sqlite3_file* file, int flags) {
  GrowingFile* const self = Of(file);
  const int code = PassOn<&sqlite3_io_methods::xSync>(file, flags);
  // The system tells of it once, and that was when it grew.
  const bool has_failed = std::exchange(self->sync_failed, false) || code != SQLITE_OK;
  if (!has_failed) return SQLITE_OK;
  ForgetCheckpoints(self->index);
  return code != SQLITE_OK ? code : SQLITE_IOERR_FSYNC;
}

int FileControl(sqlite3_file* file, int op, void* argument) {
  // What a checkpoint will need: all at once, and no more, which it would cut off.
  if (op == SQLITE_FCNTL_SIZE_HINT && Of(file)->is_kept) {
    const sqlite3_int64 needed = *static_cast<const sqlite3_int64*>(argument);
    return GrowTo(Of(file), needed, needed);
  }
  return PassOn<&sqlite3_io_methods::xFileControl>(file, op, argument);
}

int ShmMap(sqlite3_file* file, int region, int size, int extend, void volatile** out) {
  const int code = PassOn<&sqlite3_io_methods::xShmMap>(file, region, size, extend, out);
  if (code == SQLITE_OK && region == 0) Of(file)->index = *out;
  return code;
}

int ShmUnmap(sqlite3_file* file, int remove) {
  Of(file)->index = nullptr;
  return PassOn<&sqlite3_io_methods::xShmUnmap>(file, remove);
}

// Version 2: with shared memory for the log's index, without memory mapping.
constexpr sqlite3_io_methods kMethods = {
    2,
    PassOn<&sqlite3_io_methods::xClose>,
    PassOn<&sqlite3_io_methods::xRead, void*, int, sqlite3_int64>,
    Write,
    PassOn<&sqlite3_io_methods::xTruncate, sqlite3_int64>,
    Sync,
    PassOn<&sqlite3_io_methods::xFileSize, sqlite3_int64*>,
    PassOn<&sqlite3_io_methods::xLock, int>,
    PassOn<&sqlite3_io_methods::xUnlock, int>,
    PassOn<&sqlite3_io_methods::xCheckReservedLock, int*>,
    FileControl,
    PassOn<&sqlite3_io_methods::xSectorSize>,
    PassOn<&sqlite3_io_methods::xDeviceCharacteristics>,
    ShmMap,
    PassOn<&sqlite3_io_methods::xShmLock, int, int, int>,
    ShmBarrier,
    ShmUnmap,
    nullptr,
    nullptr,
};

struct Vfs {
  std::string name;
  std::string below;  // Empty: the system's own.
  sqlite3_vfs vfs;
};

sqlite3_vfs* Find(const std::string& name) {
  return sqlite3_vfs_find(name.empty() ? nullptr : name.c_str());
}

sqlite3_vfs* Below(sqlite3_vfs* vfs) { return Find(static_cast<const Vfs*>(vfs->pAppData)->below); }

// What is about files by their paths.
template <auto kMethod, typename... Args>
int PassOnPath(sqlite3_vfs* vfs, Args... args) {
  return (Below(vfs)->*kMethod)(Below(vfs), args...);
}

int Open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  sqlite3_vfs* const below = Below(vfs);
  *Of(file) = {};
  Of(file)->is_kept = (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)) != 0;
  Of(file)->is_log = (flags & SQLITE_OPEN_WAL) != 0;
  const int code = below->xOpen(below, path, Of(file)->below(), flags, out_flags);
  if (code == SQLITE_OK) Of(file)->base.pMethods = &kMethods;
  return code;
}

std::unique_ptr<Vfs> Register(const std::string& below) {
  auto made = std::make_unique<Vfs>(Vfs{"durable-growth:" + below, below, *Find({})});
  made->vfs.szOsFile = static_cast<int>(sizeof(GrowingFile)) + Find(below)->szOsFile;
  made->vfs.zName = made->name.c_str();
  made->vfs.pNext = nullptr;
  made->vfs.xOpen = Open;
  made->vfs.xDelete = PassOnPath<&sqlite3_vfs::xDelete, const char*, int>;
  made->vfs.xAccess = PassOnPath<&sqlite3_vfs::xAccess, const char*, int, int*>;
  made->vfs.xFullPathname = PassOnPath<&sqlite3_vfs::xFullPathname, const char*, int, char*>;
  made->vfs.xGetLastError = PassOnPath<&sqlite3_vfs::xGetLastError, int, char*>;
  made->vfs.pAppData = made.get();
  CHECK_EQ(sqlite3_vfs_register(&made->vfs, /*makeDflt=*/0), SQLITE_OK);
  return made;
}

}  // namespace

const char* DurableGrowth(const char* below) {
  static Mutex mutex;
  static auto& all = *new std::map<std::string, std::unique_ptr<Vfs>>();
  const std::string name = below == nullptr ? "" : below;
  MutexLock lock(mutex);
  std::unique_ptr<Vfs>& vfs = all[name];
  if (vfs == nullptr) vfs = Register(name);
  return vfs->name.c_str();
}

}  // namespace backup::storage
