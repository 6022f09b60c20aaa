#include "storage/space_reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "glog/logging.h"

namespace backup::storage {
namespace {

constexpr int64_t kSmallestPart = 16;
// Files that a start may make: the catalog's log and its index, and what is written beside.
constexpr uint64_t kFewInodes = 4;
// A log of so many reserves is exceptionally large.
constexpr int64_t kLargeLog = 2;
constexpr int64_t kStatBlockSize = 512;
constexpr int64_t kPieceAlignment = 4096;

struct Room {
  int64_t disk_bytes = 0;
  int64_t free_bytes = 0;
  bool has_inodes = true;
};

// Of the file system that a folder is in; nothing at all if it cannot be asked.
Room RoomAt(const std::string& directory) {
  struct statvfs disk = {};
  if (::statvfs(directory.c_str(), &disk) != 0) return {};
  const auto bytes = [&](fsblkcnt_t blocks) {
    return static_cast<int64_t>(blocks * disk.f_frsize);
  };
  // Some file systems make inodes as they are needed, and say that there are none at all.
  return {bytes(disk.f_blocks), bytes(disk.f_bavail),
          disk.f_files == 0 || disk.f_favail >= kFewInodes};
}

// The folder itself need not be there.
std::string ParentOf(const std::string& directory) {
  return directory.substr(0, directory.rfind('/'));
}

bool WriteZeros(int fd, int64_t size_bytes) {
  const std::vector<char> zeros(64 << 10);
  for (int64_t done = 0; done < size_bytes;) {
    const auto size = static_cast<size_t>(std::min(size_bytes - done, std::ssize(zeros)));
    const ssize_t written = ::write(fd, zeros.data(), size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    done += written;
  }
  return true;
}

int64_t PieceSizeFor(int64_t disk_bytes) {
  const int64_t piece_bytes = SpaceReserve::SizeFor(disk_bytes) / SpaceReserve::kPieces;
  return std::max<int64_t>(piece_bytes / kPieceAlignment, 1) * kPieceAlignment;
}

std::string NewPieceAt(const std::string& directory, size_t index) {
  return absl::StrCat(directory, "/new", index);
}

}  // namespace

int64_t SpaceReserve::SizeFor(int64_t disk_bytes) {
  return std::min(kMaxBytes, disk_bytes / kSmallestPart);
}

SpaceReserve::SpaceReserve(std::string directory, const StorageMetrics& metrics)
    : directory_(std::move(directory)),
      piece_bytes_(PieceSizeFor(RoomAt(ParentOf(directory_)).disk_bytes)),
      reserved_bytes_(metrics.reserved_bytes) {
  MutexLock lock(mutex_);
  int pieces = 0;
  while (pieces < kPieces && IsThere(pieces)) ++pieces;
  // Those of another size, as of a disk that was enlarged, and those that were not finished.
  for (int left = pieces; left < kPieces; ++left) ::unlink(PieceAt(left).c_str());
  for (size_t i = 0; i <= kPieces; ++i) ::unlink(NewPieceAt(directory_, i).c_str());
  SetPieces(pieces);
}

std::string SpaceReserve::PieceAt(int index) const { return absl::StrCat(directory_, "/", index); }

bool SpaceReserve::IsThere(int index) const {
  struct stat info = {};
  return ::stat(PieceAt(index).c_str(), &info) == 0 && info.st_size == piece_bytes_ &&
         info.st_blocks * kStatBlockSize >= piece_bytes_;
}

void SpaceReserve::SetPieces(int pieces) {
  pieces_.store(pieces);
  reserved_bytes_.Set(static_cast<double>(pieces * piece_bytes_));
}

absl::Status SpaceReserve::CheckGrowth() const {
  if (!is_whole()) {
    return MakeError(Reason::kStorageFull,
                     "free disk space, or delete versions or clients, and try again: the room that "
                     "is left is kept for that",
                     "reserve");
  }
  const int64_t log_bytes = log_bytes_.load();
  if (log_bytes > kLargeLog * size_bytes() && RoomAt(directory_).free_bytes < log_bytes) {
    return MakeError(Reason::kStorageFull,
                     absl::StrCat("end the program that reads the catalog (a sqlite3 shell?) and "
                                  "try again: because of it the catalog's log has ",
                                  log_bytes, " bytes, more than are free"),
                     "catalog");
  }
  return absl::OkStatus();
}

bool SpaceReserve::Release() {
  MutexLock lock(mutex_);
  if (is_restoring_) {
    while (is_restoring_) restored_.Wait(mutex_);
    return true;
  }
  const int pieces = pieces_.load();
  if (pieces == 0) return false;
  const std::string piece = PieceAt(pieces - 1);
  // Some file systems free the blocks of a file that is only unlinked later.
  static_cast<void>(::truncate(piece.c_str(), 0));
  ::unlink(piece.c_str());
  SetPieces(pieces - 1);
  LOG(WARNING)
      << "the disk is full: reserved room is given up so that versions can be deleted, and "
      << "nothing new is stored until there is room again (" << pieces - 1 << " of " << kPieces
      << " pieces are left)";
  return true;
}

void SpaceReserve::MakeRoom() {
  while (true) {
    const Room room = RoomAt(ParentOf(directory_));
    if ((room.free_bytes >= piece_bytes_ && room.has_inodes) || !Release()) return;
  }
}

bool SpaceReserve::Allocate(const std::string& path) const {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) return false;
  if (::fallocate(file.get(), 0, 0, piece_bytes_) == 0) return true;
  return errno == EOPNOTSUPP && WriteZeros(file.get(), piece_bytes_);
}

bool SpaceReserve::Restore() {
  const int missing = kPieces - pieces_.load();
  if (missing == 0) return true;
  // Who asks for more than there is takes all that is free for a moment, which others would feel.
  const bool is_first = ::mkdir(directory_.c_str(), 0700) == 0;
  if (RoomAt(directory_).free_bytes < (missing + 1) * piece_bytes_) return false;
  {
    MutexLock lock(mutex_);
    is_restoring_ = true;
  }
  // Made beside first: quotas may still refuse it, and a piece may be given up meanwhile.
  std::vector<std::string> made;
  bool has_room = true;
  while (has_room && std::ssize(made) <= missing) {
    made.push_back(NewPieceAt(directory_, made.size()));
    has_room = Allocate(made.back());
  }
  MutexLock lock(mutex_);
  int pieces = pieces_.load();
  for (const std::string& path : made) {
    const bool is_piece = has_room && pieces < kPieces && &path != &made.back() &&
                          ::rename(path.c_str(), PieceAt(pieces).c_str()) == 0;
    if (is_piece) {
      ++pieces;
    } else {
      ::unlink(path.c_str());
    }
  }
  SetPieces(pieces);
  is_restoring_ = false;
  restored_.NotifyAll();
  if (is_whole() && !is_first)
    LOG(INFO) << "there is room again: " << size_bytes() << " bytes are reserved";
  return is_whole();
}

}  // namespace backup::storage
