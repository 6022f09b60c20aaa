#include "base/direct_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "base/byte_stream.h"

namespace backup {
namespace {

constexpr mode_t kFileMode = 0600;
constexpr size_t kBufferSize = kPieceSize;
static_assert(kBufferSize % kBufferAlignment == 0);
// How far a file without allocated space grows until room is looked for again.
constexpr int64_t kRoomStep = 4 << 20;
static_assert(kRoomStep >= static_cast<int64_t>(kMaxPieceSize));

}  // namespace

UniqueFd DirectFile::Create(int folder_fd, const std::string& path) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd fd(::openat(folder_fd, path.c_str(), kFlags | O_DIRECT, kFileMode));
  // EINVAL comes after the file was made on some systems and before it on others.
  if (!fd.valid() && errno == EINVAL)
    fd = UniqueFd(::openat(folder_fd, path.c_str(), kFlags & ~O_EXCL, kFileMode));
  return fd;
}

bool DirectFile::Allocate(int64_t size_bytes) {
  // Asked for more than there is, fallocate() first takes all that is free, which others would
  // feel.
  if (!HasRoom(size_bytes)) return false;
  if (::fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, 0, size_bytes) != 0) return errno == EOPNOTSUPP;
  room_until_ = size_bytes;
  return true;
}

bool DirectFile::HasRoom(int64_t size_bytes) const {
  struct statvfs disk = {};
  if (::fstatvfs(fd_.get(), &disk) != 0) return false;
  if (static_cast<uint64_t>(size_bytes + reserve_bytes_) / disk.f_frsize < disk.f_bavail)
    return true;
  errno = ENOSPC;
  return false;
}

bool DirectFile::Write(absl::string_view piece) {
  // A piece that is aligned as its place in the file is goes to the disk as it is.
  if (filled_ == 0 && reinterpret_cast<uintptr_t>(piece.data()) % kBufferAlignment == 0) {
    const size_t size = piece.size() / kBufferAlignment * kBufferAlignment;
    if (!WriteOut(piece.substr(0, size))) return false;
    piece.remove_prefix(size);
  }
  if (!piece.empty() && buffer_ == nullptr) buffer_ = TakeAlignedBuffer(kBufferSize);
  while (!piece.empty()) {
    const size_t taken = std::min(piece.size(), kBufferSize - filled_);
    std::memcpy(buffer_.get() + filled_, piece.data(), taken);
    filled_ += taken;
    piece.remove_prefix(taken);
    if (filled_ == kBufferSize && !WriteBuffer()) return false;
  }
  return true;
}

bool DirectFile::Flush() {
  if (filled_ % kBufferAlignment != 0 && !UsePageCache()) return false;
  return WriteBuffer() && ::ftruncate(fd_.get(), offset_) == 0;
}

bool DirectFile::Sync() { return ::fsync(fd_.get()) == 0; }

bool DirectFile::IsDirect() const { return (::fcntl(fd_.get(), F_GETFL) & O_DIRECT) != 0; }

bool DirectFile::UsePageCache() {
  return ::fcntl(fd_.get(), F_SETFL, ::fcntl(fd_.get(), F_GETFL) & ~O_DIRECT) == 0;
}

bool DirectFile::WriteBuffer() {
  if (!WriteOut(absl::string_view(buffer_.get(), filled_))) return false;
  filled_ = 0;
  return true;
}

bool DirectFile::WriteOut(absl::string_view bytes) {
  while (!bytes.empty()) {
    if (reserve_bytes_ > 0 && offset_ + std::ssize(bytes) > room_until_) {
      if (!HasRoom(kRoomStep)) return false;
      room_until_ = offset_ + kRoomStep;
    }
    const ssize_t written = ::pwrite(fd_.get(), bytes.data(), bytes.size(), offset_);
    if (written < 0 && errno == EINTR) continue;
    // Some file systems refuse direct writes only now.
    if (written < 0 && errno == EINVAL && IsDirect() && UsePageCache()) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
    offset_ += written;
  }
  return true;
}

}  // namespace backup
