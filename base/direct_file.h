#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/aligned_buffer.h"
#include "base/unique_fd.h"

namespace backup {

// A new file that is written front to back. Full blocks bypass the page cache, where the file
// system can; the rest goes through it at the end. What returns bool returns false on failure and
// sets errno; nothing more may be written then. Used by one thread at a time.
class DirectFile {
 public:
  // Creates a file for its owner only, where nothing may be yet. `path` is relative to the folder
  // that `folder_fd` is open on, or AT_FDCWD. On failure not valid, errno set.
  static UniqueFd Create(int folder_fd, const std::string& path);

  // `fd` is what Create() returned. The file does not grow into the last `reserve_bytes` of its
  // file system: ENOSPC.
  explicit DirectFile(UniqueFd fd, int64_t reserve_bytes = 0)
      : fd_(std::move(fd)), reserve_bytes_(reserve_bytes) {}

  // Sets space aside, before anything is written; where the file system cannot, nothing happens.
  bool Allocate(int64_t size_bytes);
  // Appends `piece`. What is aligned by kBufferAlignment is not copied.
  bool Write(absl::string_view piece);
  // Writes what waits for a full block, and gives back what was allocated and not used.
  bool Flush();
  // What was flushed is on the medium when this returns true.
  bool Sync();

  // How many bytes were handed to the file system.
  int64_t written_bytes() const { return offset_; }

 private:
  // Whether there is room for `size_bytes` more without touching the reserve.
  bool HasRoom(int64_t size_bytes) const;
  bool IsDirect() const;
  bool UsePageCache();
  bool WriteBuffer();
  // Appends `bytes`, which are aligned as O_DIRECT wants it unless that is off.
  bool WriteOut(absl::string_view bytes);

  const UniqueFd fd_;
  const int64_t reserve_bytes_;
  AlignedBuffer buffer_;  // Null until something must wait.
  size_t filled_ = 0;
  int64_t offset_ = 0;
  int64_t room_until_ = 0;  // The reserve is safe if the file does not grow beyond this.
};

}  // namespace backup
