#include "storage/local/local_blob_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/direct_file.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::storage {
namespace {

constexpr size_t kLargeReadSize = kPieceSize / 4;  // As the smallest chunk.
// How far ahead of large reads through the page cache the file is read.
constexpr int64_t kReadAheadBytes = 4 << 20;
// Folders of blobs, one for each first byte of an id.
constexpr int kFolders = 256;

// The one place where an errno becomes one of our reasons. `doing` is a literal, whose first word
// is the operation.
absl::Status IoError(const StorageMetrics& metrics, absl::string_view doing) {
  const int error = errno;
  metrics.io_errors.With({doing.substr(0, doing.find(' '))}).Add();
  const std::string what = absl::StrCat("the blob store cannot ", doing, ": ", strerror(error));
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
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

// Renames a file to a name that must not be there yet; errno is EEXIST if it is.
bool RenameToNew(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL) return false;
  // A file system that cannot do this, such as NFS: a link replaces nothing either.
  return ::link(from.c_str(), to.c_str()) == 0 && ::unlink(from.c_str()) == 0;
}

// What a new blob must leave free in the file system of `fd`, so that small files are still stored:
// as much as is reserved beside.
absl::StatusOr<int64_t> ReserveOf(const StorageMetrics& metrics, int fd) {
  struct statvfs disk = {};
  if (::fstatvfs(fd, &disk) != 0) return IoError(metrics, "ask for free space");
  return SpaceReserve::SizeFor(static_cast<int64_t>(disk.f_blocks * disk.f_frsize));
}

// A blob on its way.
class PartFile final : public ByteSink {
 public:
  static absl::StatusOr<std::unique_ptr<PartFile>> Create(const StorageMetrics& metrics,
                                                          BulkThrottle* throttle,
                                                          const std::string& path,
                                                          std::optional<int64_t> expected_size) {
    UniqueFd fd = DirectFile::Create(AT_FDCWD, path);
    if (!fd.valid()) return IoError(metrics, "create a file");
    ASSIGN_OR_RETURN(const int64_t reserve_bytes, ReserveOf(metrics, fd.get()));
    std::unique_ptr<PartFile> part(new PartFile(metrics, throttle, std::move(fd), reserve_bytes));
    if (expected_size && *expected_size > 0 && !part->file_.Allocate(*expected_size))
      return IoError(metrics, "allocate space");
    return part;
  }
  ~PartFile() override { metrics_.temp_bytes.Add(-static_cast<double>(counted_bytes_)); }

  absl::Status Write(absl::string_view piece) override {
    if (!file_.Write(piece)) return IoError(metrics_, "write");
    CountBytes();
    return absl::OkStatus();
  }

  void LetPiecesLast(size_t pieces) override { file_.LetPiecesLast(pieces); }

  // Nothing of what was written is needed any more.
  absl::Status Flush() {
    if (!file_.Flush()) return IoError(metrics_, "write");
    CountBytes();
    return absl::OkStatus();
  }

  // What was flushed is on the medium when this returns OK.
  absl::Status Sync() {
    const SyncTimer timer(metrics_);
    if (!file_.Sync()) return IoError(metrics_, "sync a file");
    return absl::OkStatus();
  }

  int64_t size_bytes() const { return file_.written_bytes(); }

 private:
  PartFile(const StorageMetrics& metrics, BulkThrottle* throttle, UniqueFd fd,
           int64_t reserve_bytes)
      : metrics_(metrics), file_(std::move(fd), reserve_bytes, throttle) {}

  void CountBytes() {
    const int64_t written_bytes = file_.written_bytes();
    metrics_.temp_bytes.Add(static_cast<double>(written_bytes - counted_bytes_));
    counted_bytes_ = written_bytes;
  }

  const StorageMetrics& metrics_;
  DirectFile file_;
  int64_t counted_bytes_ = 0;
};

// A part that is to become the blob `path` in `folder`.
class StagedFile final : public StagedBlob {
 public:
  StagedFile(const StorageMetrics& metrics, std::string part_path, std::string folder,
             std::string path)
      : metrics_(metrics),
        part_path_(std::move(part_path)),
        folder_(std::move(folder)),
        path_(std::move(path)) {}
  ~StagedFile() override {
    if (leftover_ != nullptr) ::unlink(leftover_->c_str());
  }

  absl::Status Fill(ByteSource& source, BulkThrottle* throttle,
                    std::optional<int64_t> expected_size) {
    leftover_ = &part_path_;
    ASSIGN_OR_RETURN(part_, PartFile::Create(metrics_, throttle, part_path_, expected_size));
    RETURN_IF_ERROR(CopyAll(source, *part_).status());
    return part_->Flush();
  }

  int64_t size_bytes() const override { return part_->size_bytes(); }

  absl::Status Commit() override {
    RETURN_IF_ERROR(part_->Sync());
    if (!RenameToNew(part_path_, path_)) return IoError(metrics_, "rename a file");
    leftover_ = &path_;
    RETURN_IF_ERROR(SyncFolder(metrics_, folder_));
    leftover_ = nullptr;
    return absl::OkStatus();
  }

 private:
  const StorageMetrics& metrics_;
  const std::string part_path_;
  const std::string folder_;
  const std::string path_;
  std::unique_ptr<PartFile> part_;
  const std::string* leftover_ = nullptr;  // To be deleted, unless it is stored.
};

// Whether bytes of a file, on whole blocks, are in the page cache already.
bool IsCached(int fd, int64_t offset, size_t size) {
  void* const pages = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, offset);
  if (pages == MAP_FAILED) return true;
  std::vector<unsigned char> resident(size / kBufferAlignment);
  const bool known = ::mincore(pages, size, resident.data()) == 0;
  ::munmap(pages, size);
  return !known || std::all_of(resident.begin(), resident.end(),
                               [](unsigned char page) { return (page & 1) != 0; });
}

class FileAccess final : public RandomAccess {
 public:
  // `direct_fd` is open on the same file for direct reads, or not valid.
  FileAccess(const StorageMetrics& metrics, std::shared_ptr<BulkThrottle> throttle, UniqueFd fd,
             UniqueFd direct_fd, int64_t size_bytes)
      : metrics_(metrics),
        throttle_(std::move(throttle)),
        fd_(std::move(fd)),
        direct_fd_(std::move(direct_fd)),
        size_bytes_(size_bytes) {}
  int64_t size_bytes() const override { return size_bytes_; }
  size_t read_depth() const override { return direct_fd_.valid() ? IoQueue::kMaxDepth : 1; }
  bool TryStartReadAt(IoQueue& queue, int64_t offset, std::span<char> out) const override {
    return out.size() >= kLargeReadSize && IsForDirect(offset, out) &&
           queue.TryStart(
               {IoOperation::Kind::kRead, direct_fd_.get(), out.data(), out.size(), offset},
               throttle_.get());
  }
  absl::Status ReadAt(int64_t offset, std::span<char> out) const override {
    if (out.size() >= kLargeReadSize) {
      if (TryReadDirect(offset, out)) return absl::OkStatus();
      // Who reads so much at once reads on. The kernel's own reading ahead is slower than disks.
      ::posix_fadvise(fd_.get(), offset + kReadAheadBytes, std::ssize(out), POSIX_FADV_WILLNEED);
    }
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
  // Past the page cache, which costs less time and leaves it to the catalog: large blobs are rarely
  // read twice. False if that cannot be, or the bytes are in the page cache anyway.
  bool TryReadDirect(int64_t offset, std::span<char> out) const {
    if (!IsForDirect(offset, out)) return false;
    const BulkTurn turn(throttle_.get());
    return ::pread(direct_fd_.get(), out.data(), out.size(), offset) == std::ssize(out);
  }
  bool IsForDirect(int64_t offset, std::span<char> out) const {
    const auto address = reinterpret_cast<uintptr_t>(out.data());
    return direct_fd_.valid() &&
           (static_cast<uintptr_t>(offset) | address | out.size()) % kBufferAlignment == 0 &&
           !IsCached(fd_.get(), offset, out.size());
  }

  const StorageMetrics metrics_;  // A reader may outlive its store.
  const std::shared_ptr<BulkThrottle> throttle_;
  const UniqueFd fd_;
  const UniqueFd direct_fd_;
  const int64_t size_bytes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LocalBlobStore>> LocalBlobStore::Open(
    const std::string& directory, const StorageMetrics& metrics, const SpaceReserve* reserve,
    std::shared_ptr<BulkThrottle> throttle) {
  RETURN_IF_ERROR(MakeFolders(metrics, directory));
  RETURN_IF_ERROR(RemoveLeftOverParts(metrics, absl::StrCat(directory, "/tmp")));
  // Made now, on a thread whose priority is not low.
  IoEngine::Default();
  return std::unique_ptr<LocalBlobStore>(
      new LocalBlobStore(directory, metrics, reserve, std::move(throttle)));
}

std::string LocalBlobStore::FolderOf(const BlobId& id) const {
  return absl::StrCat(directory_, "/blobs/", ToHex(id).substr(0, 2));
}

std::string LocalBlobStore::PathOf(const BlobId& id) const {
  return absl::StrCat(FolderOf(id), "/", ToHex(id));
}

absl::StatusOr<std::unique_ptr<StagedBlob>> LocalBlobStore::Stage(
    const BlobId& id, ByteSource& source, std::optional<int64_t> expected_size) {
  if (reserve_ != nullptr) RETURN_IF_ERROR(reserve_->CheckGrowth());
  // The number keeps a second Stage() of the same id, which is a mistake, away from the first.
  auto staged = std::make_unique<StagedFile>(
      metrics_, absl::StrCat(directory_, "/tmp/", ToHex(id), ".", ++parts_), FolderOf(id),
      PathOf(id));
  RETURN_IF_ERROR(staged->Fill(source, throttle_.get(), expected_size));
  return staged;
}

absl::StatusOr<std::unique_ptr<RandomAccess>> LocalBlobStore::Open(const BlobId& id) const {
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW;
  const std::string path = PathOf(id);
  UniqueFd fd(::open(path.c_str(), kFlags));
  if (!fd.valid() && errno == ENOENT)
    return absl::NotFoundError(absl::StrCat("there is no blob ", ToHex(id)));
  struct stat info = {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) return IoError(metrics_, "open a file");
  UniqueFd direct_fd;
  if (info.st_size >= static_cast<int64_t>(kLargeReadSize))
    direct_fd = UniqueFd(::open(path.c_str(), kFlags | O_DIRECT));
  return std::make_unique<FileAccess>(metrics_, throttle_, std::move(fd), std::move(direct_fd),
                                      info.st_size);
}

absl::StatusOr<bool> LocalBlobStore::Delete(const BlobId& id) {
  if (::unlink(PathOf(id).c_str()) == 0) return true;
  if (errno != ENOENT) return IoError(metrics_, "delete a file");
  return false;
}

absl::Status LocalBlobStore::List(const std::function<absl::Status(const BlobInfo&)>& visit) const {
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
      RETURN_IF_ERROR(visit({*id, info.st_size}));
    }
  }
  return absl::OkStatus();
}

}  // namespace backup::storage
