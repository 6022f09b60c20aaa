#include "storage/sqlite/testing/fault_vfs.h"

#include <utility>

#include "glog/logging.h"

namespace backup::storage {
namespace {

// What SQLite sees of a file; the system's own one is behind it in the same memory.
struct FaultFile {
  sqlite3_file base;
  FaultVfs* vfs;
  bool is_database;  // And no log.
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

FaultFile* Of(sqlite3_file* file) { return reinterpret_cast<FaultFile*>(file); }

// Passes on a method that never fails on purpose.
template <auto kMethod, typename... Args>
int PassOn(sqlite3_file* file, Args... args) {
  sqlite3_file* const real = Of(file)->real();
  return (real->pMethods->*kMethod)(real, args...);
}

// Passes on a method unless that call is to fail.
template <FaultVfs::Op kOp, auto kMethod, typename... Args>
int CountAndPassOn(sqlite3_file* file, Args... args) {
  if (const int code = Of(file)->vfs->Count(kOp); code != SQLITE_OK) return code;
  return PassOn<kMethod>(file, args...);
}

int Read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
  const int code = Of(file)->vfs->CountRead(Of(file)->is_database, offset);
  if (code != SQLITE_OK) return code;
  return PassOn<&sqlite3_io_methods::xRead>(file, out, size, offset);
}

int ShmLock(sqlite3_file* file, int offset, int count, int flags) {
  constexpr auto kMethod = &sqlite3_io_methods::xShmLock;
  return (flags & SQLITE_SHM_LOCK) != 0
             ? CountAndPassOn<FaultVfs::Op::kLock, kMethod>(file, offset, count, flags)
             : PassOn<kMethod>(file, offset, count, flags);
}

int FileControl(sqlite3_file* file, int op, void* argument) {
  const int code = PassOn<&sqlite3_io_methods::xFileControl>(file, op, argument);
  if (op == SQLITE_FCNTL_LAST_ERRNO)
    *static_cast<int*>(argument) = Of(file)->vfs->last_system_error();
  return code;
}

void ShmBarrier(sqlite3_file* file) {
  sqlite3_file* const real = Of(file)->real();
  real->pMethods->xShmBarrier(real);
}

// Version 2: with shared memory for the log's index, without memory mapping.
using Op = FaultVfs::Op;
constexpr sqlite3_io_methods kMethods = {
    2,
    PassOn<&sqlite3_io_methods::xClose>,
    Read,
    CountAndPassOn<Op::kWrite, &sqlite3_io_methods::xWrite, const void*, int, sqlite3_int64>,
    CountAndPassOn<Op::kTruncate, &sqlite3_io_methods::xTruncate, sqlite3_int64>,
    CountAndPassOn<Op::kSync, &sqlite3_io_methods::xSync, int>,
    CountAndPassOn<Op::kSize, &sqlite3_io_methods::xFileSize, sqlite3_int64*>,
    CountAndPassOn<Op::kLock, &sqlite3_io_methods::xLock, int>,
    PassOn<&sqlite3_io_methods::xUnlock, int>,
    PassOn<&sqlite3_io_methods::xCheckReservedLock, int*>,
    FileControl,
    PassOn<&sqlite3_io_methods::xSectorSize>,
    PassOn<&sqlite3_io_methods::xDeviceCharacteristics>,
    CountAndPassOn<Op::kMap, &sqlite3_io_methods::xShmMap, int, int, int, void volatile**>,
    ShmLock,
    ShmBarrier,
    PassOn<&sqlite3_io_methods::xShmUnmap, int>,
    nullptr,
    nullptr,
};

int Open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  auto* const self = static_cast<FaultVfs*>(vfs->pAppData);
  sqlite3_vfs* const system = sqlite3_vfs_find(nullptr);
  Of(file)->vfs = self;
  Of(file)->is_database = (flags & SQLITE_OPEN_MAIN_DB) != 0;
  Of(file)->base.pMethods = nullptr;
  if (const int code = self->Count(FaultVfs::Op::kOpen); code != SQLITE_OK) return code;
  const int code = system->xOpen(system, path, Of(file)->real(), flags, out_flags);
  if (code == SQLITE_OK) Of(file)->base.pMethods = &kMethods;
  return code;
}

}  // namespace

FaultVfs::FaultVfs() {
  // All but opening files is the system's own.
  vfs_ = *sqlite3_vfs_find(nullptr);
  vfs_.szOsFile += static_cast<int>(sizeof(FaultFile));
  vfs_.zName = name_.c_str();
  vfs_.pNext = nullptr;
  vfs_.xOpen = Open;
  vfs_.pAppData = this;
  CHECK_EQ(sqlite3_vfs_register(&vfs_, /*makeDflt=*/0), SQLITE_OK);
}

FaultVfs::~FaultVfs() { sqlite3_vfs_unregister(&vfs_); }

void FaultVfs::FailNth(Op op, int nth, int code, int system_error) {
  MutexLock lock(mutex_);
  op_ = op;
  left_ = nth;
  code_ = code;
  system_error_ = system_error;
  hook_ = nullptr;
}

void FaultVfs::FailReadsAt(int64_t offset, int code, int system_error) {
  MutexLock lock(mutex_);
  bad_offset_ = offset;
  bad_code_ = code;
  bad_system_error_ = system_error;
  has_met_bad_ = false;
}

void FaultVfs::HookNth(Op op, int nth, std::function<void()> hook) {
  FailNth(op, nth, SQLITE_OK);
  MutexLock lock(mutex_);
  hook_ = std::move(hook);
}

bool FaultVfs::has_failed() {
  MutexLock lock(mutex_);
  return left_ == 0;
}

int FaultVfs::last_system_error() {
  MutexLock lock(mutex_);
  if (has_met_bad_) return bad_system_error_;
  return left_ == 0 ? system_error_ : 0;
}

int FaultVfs::CountRead(bool is_database, int64_t offset) {
  {
    MutexLock lock(mutex_);
    if (is_database && offset == bad_offset_) {
      has_met_bad_ = true;
      return bad_code_;
    }
  }
  return Count(Op::kRead);
}

int FaultVfs::Count(Op op) {
  MutexLock lock(mutex_);
  if (op != op_ || left_ == 0) return SQLITE_OK;
  if (--left_ > 0) return SQLITE_OK;
  if (hook_) hook_();
  return code_;
}

}  // namespace backup::storage
