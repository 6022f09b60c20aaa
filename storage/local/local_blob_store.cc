#include "storage/local/local_blob_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/aligned_buffer.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::storage {
namespace {

constexpr size_t kAlignment = kBufferAlignment;  // Of buffer, offset and size.
constexpr size_t kBufferSize = kPieceSize;
static_assert(kBufferSize % kAlignment == 0);
// What blobs leave to the catalog, so that versions can still be confirmed and deleted: so much, or
// one part in so many of a small file system.
constexpr uint64_t kReserveBytes = 64 << 20;
constexpr uint64_t kSmallestReservePart = 16;
// How far a file without allocated space grows until room is looked for again.
constexpr int64_t kRoomStep = 4 << 20;
static_assert(kRoomStep >= static_cast<int64_t>(kMaxPieceSize));
// Folders of blobs, one for each first byte of an id.
constexpr int kFolders = 256;

// The one place where an errno becomes one of our reasons. `doing` is a literal, whose first word
// is the operation.
absl::Status IoError(const StorageMetrics& metrics, absl::string_view doing) {
  const int error = errno;
  metrics.io_errors.With({doing.substr(0, doing.find(' '))}).Add();
  const std::string what = absl::StrCat("the blob store cannot ", doing, ": ", strerror(error));
  if (error == ENOSPC || error == EDQUOT) {
    return MakeError(Reason::kStorageFull, absl::StrCat("free disk space and try again: ", what),
                     "blobs");
  }
  return MakeError(Reason::kStorageIo, what);
}

// Measures how long it takes until something is on the medium.
class SyncTimer {
 public:
  explicit SyncTimer(const StorageMetrics& metrics) : metrics_(metrics) {}
  ~SyncTimer() {
    metrics_.fsync_duration.Observe(absl::FromChrono(std::chrono::steady_clock::now() - begin_));
  }
  SyncTimer(const SyncTimer&) = delete;
  SyncTimer& operator=(const SyncTimer&) = delete;

 private:
  const StorageMetrics& metrics_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

absl::Status SyncFolder(const StorageMetrics& metrics, const std::string& path) {
  const SyncTimer timer(metrics);
  const UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || ::fsync(folder.get()) != 0) return IoError(metrics, "sync a folder");
  return absl::OkStatus();
}

// Makes a folder, if there is none, whose parent exists. Durable once the parent is synced.
absl::Status MakeFolder(const StorageMetrics& metrics, const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return IoError(metrics, "make a folder");
  return absl::OkStatus();
}

// Makes all folders at once and durable, so that storing a blob need not.
absl::Status MakeFolders(const StorageMetrics& metrics, const std::string& directory) {
  RETURN_IF_ERROR(MakeFolder(metrics, directory));
  RETURN_IF_ERROR(MakeFolder(metrics, absl::StrCat(directory, "/tmp")));
  RETURN_IF_ERROR(MakeFolder(metrics, absl::StrCat(directory, "/blobs")));
  for (int first_byte = 0; first_byte < kFolders; ++first_byte) {
    RETURN_IF_ERROR(MakeFolder(metrics, absl::StrFormat("%s/blobs/%02x", directory, first_byte)));
  }
  RETURN_IF_ERROR(SyncFolder(metrics, absl::StrCat(directory, "/blobs")));
  RETURN_IF_ERROR(SyncFolder(metrics, directory));
  return SyncFolder(metrics, absl::StrCat(directory, "/.."));
}

absl::Status RemoveLeftOverParts(const StorageMetrics& metrics, const std::string& folder) {
  std::error_code error;
  for (const auto& part : std::filesystem::directory_iterator(folder, error)) {
    if (::unlink(part.path().c_str()) != 0) return IoError(metrics, "remove a left-over part");
    metrics.orphans_removed.Add();
  }
  if (error)
    return MakeError(Reason::kStorageIo,
                     absl::StrCat("the blob store cannot list parts: ", error.message()));
  return absl::OkStatus();
}

BlobId NewBlobId() {
  char bytes[BlobId::kSize];
  CHECK_EQ(::getrandom(bytes, sizeof(bytes), 0), static_cast<ssize_t>(sizeof(bytes)));
  return *BlobId::FromBytes(absl::string_view(bytes, sizeof(bytes)));
}

// Whether there is room for `size_bytes` more without touching the reserve.
absl::Status CheckRoom(const StorageMetrics& metrics, int fd, int64_t size_bytes) {
  struct statvfs disk = {};
  if (::fstatvfs(fd, &disk) != 0) return IoError(metrics, "ask for free space");
  const uint64_t reserve =
      std::min<uint64_t>(kReserveBytes / disk.f_frsize, disk.f_blocks / kSmallestReservePart);
  if (static_cast<uint64_t>(size_bytes) / disk.f_frsize + reserve < disk.f_bavail)
    return absl::OkStatus();
  errno = ENOSPC;
  return IoError(metrics, "allocate space");
}

// Sets space aside for a file. Returns for how much of it: 0 where the file system cannot.
absl::StatusOr<int64_t> Allocate(const StorageMetrics& metrics, int fd, int64_t size_bytes) {
  // Asked for more than there is, fallocate() first takes all that is free, which others would
  // feel.
  RETURN_IF_ERROR(CheckRoom(metrics, fd, size_bytes));
  if (::fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size_bytes) == 0) return size_bytes;
  if (errno == EOPNOTSUPP) return 0;
  return IoError(metrics, "allocate space");
}

// A new file that is written front to back. Full blocks bypass the page cache; the rest goes
// through it at the end.
class PartFile final : public ByteSink {
 public:
  static absl::StatusOr<std::unique_ptr<PartFile>> Create(const StorageMetrics& metrics,
                                                          const std::string& path,
                                                          std::optional<int64_t> expected_size) {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
    UniqueFd fd(::open(path.c_str(), kFlags | O_DIRECT, 0600));
    // EINVAL comes after the file was made on some systems and before it on others.
    if (!fd.valid() && errno == EINVAL) fd = UniqueFd(::open(path.c_str(), kFlags & ~O_EXCL, 0600));
    if (!fd.valid()) return IoError(metrics, "create a file");
    int64_t allocated = 0;
    if (expected_size && *expected_size > 0) {
      ASSIGN_OR_RETURN(allocated, Allocate(metrics, fd.get(), *expected_size));
    }
    return std::unique_ptr<PartFile>(new PartFile(metrics, std::move(fd), allocated));
  }
  ~PartFile() override { metrics_.temp_bytes.Add(-static_cast<double>(offset_)); }

  absl::Status Write(absl::string_view piece) override {
    // A piece that is aligned as its place in the file is goes to the disk as it is.
    if (filled_ == 0 && reinterpret_cast<uintptr_t>(piece.data()) % kAlignment == 0) {
      const size_t size = piece.size() / kAlignment * kAlignment;
      RETURN_IF_ERROR(WriteOut(piece.substr(0, size)));
      piece.remove_prefix(size);
    }
    while (!piece.empty()) {
      const size_t taken = std::min(piece.size(), kBufferSize - filled_);
      std::memcpy(buffer_.get() + filled_, piece.data(), taken);
      filled_ += taken;
      piece.remove_prefix(taken);
      if (filled_ == kBufferSize) RETURN_IF_ERROR(Flush());
    }
    return absl::OkStatus();
  }

  // Everything is on the medium when this returns OK.
  absl::Status Finish() {
    if (filled_ % kAlignment != 0 && !UsePageCache()) return IoError(metrics_, "write");
    RETURN_IF_ERROR(Flush());
    const SyncTimer timer(metrics_);
    // Gives back what was allocated and not used.
    if (::ftruncate(fd_.get(), offset_) != 0 || ::fsync(fd_.get()) != 0)
      return IoError(metrics_, "sync a file");
    return absl::OkStatus();
  }

  int64_t size_bytes() const { return offset_; }

 private:
  PartFile(const StorageMetrics& metrics, UniqueFd fd, int64_t allocated)
      : metrics_(metrics), fd_(std::move(fd)), room_until_(allocated) {}

  bool IsDirect() const { return (::fcntl(fd_.get(), F_GETFL) & O_DIRECT) != 0; }
  bool UsePageCache() {
    return ::fcntl(fd_.get(), F_SETFL, ::fcntl(fd_.get(), F_GETFL) & ~O_DIRECT) == 0;
  }

  absl::Status Flush() {
    RETURN_IF_ERROR(WriteOut(absl::string_view(buffer_.get(), filled_)));
    filled_ = 0;
    return absl::OkStatus();
  }

  // Appends `bytes`, which are aligned as O_DIRECT wants it unless that is off.
  absl::Status WriteOut(absl::string_view bytes) {
    while (!bytes.empty()) {
      if (offset_ + std::ssize(bytes) > room_until_) {
        RETURN_IF_ERROR(CheckRoom(metrics_, fd_.get(), kRoomStep));
        room_until_ = offset_ + kRoomStep;
      }
      const ssize_t written = ::pwrite(fd_.get(), bytes.data(), bytes.size(), offset_);
      if (written < 0 && errno == EINTR) continue;
      // Some file systems refuse direct writes only now.
      if (written < 0 && errno == EINVAL && IsDirect() && UsePageCache()) continue;
      if (written <= 0) return IoError(metrics_, "write");
      bytes.remove_prefix(static_cast<size_t>(written));
      offset_ += written;
      metrics_.temp_bytes.Add(static_cast<double>(written));
    }
    return absl::OkStatus();
  }

  const StorageMetrics& metrics_;
  UniqueFd fd_;
  const AlignedBuffer buffer_ = TakeAlignedBuffer(kBufferSize);
  size_t filled_ = 0;
  int64_t offset_ = 0;
  int64_t room_until_;  // The reserve is safe if the file does not grow beyond this.
};

class FileAccess final : public RandomAccess {
 public:
  FileAccess(const StorageMetrics& metrics, UniqueFd fd, int64_t size_bytes)
      : metrics_(metrics), fd_(std::move(fd)), size_bytes_(size_bytes) {}
  int64_t size_bytes() const override { return size_bytes_; }
  absl::Status ReadAt(int64_t offset, std::span<char> out) const override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t got = ::pread(fd_.get(), out.data() + done, out.size() - done,
                                  offset + static_cast<int64_t>(done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return IoError(metrics_, "read");
      if (got == 0)
        return MakeError(Reason::kBlobDamaged, "the stored content is shorter than it should be");
      done += static_cast<size_t>(got);
    }
    return absl::OkStatus();
  }

 private:
  const StorageMetrics metrics_;  // A reader may outlive its store.
  const UniqueFd fd_;
  const int64_t size_bytes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LocalBlobStore>> LocalBlobStore::Open(
    const std::string& directory, const StorageMetrics& metrics) {
  RETURN_IF_ERROR(MakeFolders(metrics, directory));
  RETURN_IF_ERROR(RemoveLeftOverParts(metrics, absl::StrCat(directory, "/tmp")));
  return std::unique_ptr<LocalBlobStore>(new LocalBlobStore(directory, metrics));
}

std::string LocalBlobStore::FolderOf(const BlobId& id) const {
  return absl::StrCat(directory_, "/blobs/", ToHex(id).substr(0, 2));
}

std::string LocalBlobStore::PathOf(const BlobId& id) const {
  return absl::StrCat(FolderOf(id), "/", ToHex(id));
}

absl::StatusOr<StoredBlob> LocalBlobStore::Put(ByteSource& source,
                                               std::optional<int64_t> expected_size) {
  const BlobId id = NewBlobId();
  const std::string part_path = absl::StrCat(directory_, "/tmp/", ToHex(id));
  absl::Cleanup discard = [&] { ::unlink(part_path.c_str()); };
  ASSIGN_OR_RETURN(const std::unique_ptr<PartFile> part,
                   PartFile::Create(metrics_, part_path, expected_size));
  RETURN_IF_ERROR(CopyAll(source, *part).status());
  RETURN_IF_ERROR(part->Finish());
  if (::rename(part_path.c_str(), PathOf(id).c_str()) != 0)
    return IoError(metrics_, "rename a file");
  std::move(discard).Cancel();
  absl::Cleanup remove = [&] { ::unlink(PathOf(id).c_str()); };
  RETURN_IF_ERROR(SyncFolder(metrics_, FolderOf(id)));
  std::move(remove).Cancel();
  return StoredBlob{id, part->size_bytes()};
}

absl::StatusOr<std::unique_ptr<RandomAccess>> LocalBlobStore::Open(const BlobId& id) const {
  UniqueFd fd(::open(PathOf(id).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid() && errno == ENOENT)
    return absl::NotFoundError(absl::StrCat("there is no blob ", ToHex(id)));
  struct stat info = {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) return IoError(metrics_, "open a file");
  return std::make_unique<FileAccess>(metrics_, std::move(fd), info.st_size);
}

absl::Status LocalBlobStore::Delete(const BlobId& id) {
  if (::unlink(PathOf(id).c_str()) != 0 && errno != ENOENT)
    return IoError(metrics_, "delete a file");
  return absl::OkStatus();
}

absl::Status LocalBlobStore::ForEach(
    const std::function<absl::Status(const BlobInfo&)>& visit) const {
  for (int first_byte = 0; first_byte < kFolders; ++first_byte) {
    const std::string folder = absl::StrFormat("%s/blobs/%02x", directory_, first_byte);
    DIR* const listing = ::opendir(folder.c_str());
    if (listing == nullptr) return IoError(metrics_, "list a folder");
    const absl::Cleanup close = [&] { ::closedir(listing); };
    while (true) {
      errno = 0;
      const dirent* const entry = ::readdir(listing);
      if (entry == nullptr && errno != 0) return IoError(metrics_, "list a folder");
      if (entry == nullptr) break;
      const std::optional<BlobId> id = BlobIdFromHex(entry->d_name);
      struct stat info = {};
      if (!id || ::fstatat(::dirfd(listing), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        continue;
      RETURN_IF_ERROR(visit({*id, info.st_size, absl::TimeFromTimespec(info.st_mtim)}));
    }
  }
  return absl::OkStatus();
}

}  // namespace backup::storage
