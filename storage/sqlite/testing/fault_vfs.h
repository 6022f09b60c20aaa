#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <string>

#include "base/mutex.h"

namespace backup::storage {

// A SQLite VFS that passes everything on to the system's own, until one call fails as if the disk
// had. Thread-safe.
class FaultVfs {
 public:
  enum class Op {
    kNone,
    kOpen,
    kRead,
    kWrite,
    kSync,
    kTruncate,
    kSize,
    kLock,  // Of the file, or of the log's index; to take one, not to give it back.
    kMap    // A part of the log's index.
  };

  // Registers itself with SQLite.
  FaultVfs();
  ~FaultVfs();
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

  const char* name() const { return name_.c_str(); }

  // Makes the `nth` such call from now on, from 1, fail with this code of SQLite's, without doing
  // anything; kNone: none. `system_error` is the errno that is the cause.
  void FailNth(Op op, int nth, int code, int system_error = 0);
  // From now on each read of a database that begins at `offset` fails so, as of a sector that stays
  // unreadable; negative: none does.
  void FailReadsAt(int64_t offset, int code, int system_error);
  // Has the `nth` such call from now on call `hook` before it does anything; a hook that ends the
  // process is like a kill -9.
  void HookNth(Op op, int nth, std::function<void()> hook);
  // Whether it came to that.
  bool has_failed();

  // The code to fail with, else SQLITE_OK. For the file methods.
  int Count(Op op);
  int CountRead(bool is_database, int64_t offset);
  // The errno that it was because of; 0 if nothing has failed.
  int last_system_error();

 private:
  const std::string name_ = "fault";
  sqlite3_vfs vfs_ = {};
  Mutex mutex_;
  Op op_ ABSL_GUARDED_BY(mutex_) = Op::kNone;
  int left_ ABSL_GUARDED_BY(mutex_) = 0;
  int code_ ABSL_GUARDED_BY(mutex_) = SQLITE_OK;
  int system_error_ ABSL_GUARDED_BY(mutex_) = 0;
  std::function<void()> hook_ ABSL_GUARDED_BY(mutex_);
  int64_t bad_offset_ ABSL_GUARDED_BY(mutex_) = -1;
  int bad_code_ ABSL_GUARDED_BY(mutex_) = SQLITE_OK;
  int bad_system_error_ ABSL_GUARDED_BY(mutex_) = 0;
  bool has_met_bad_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace backup::storage
