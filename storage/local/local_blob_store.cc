#include "storage/local/local_blob_store.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/direct_file.h"
#include "base/error.h"
#include "base/status_macros.h"

namespace backup::storage {
namespace {

constexpr size_t kLargeReadSize = kPieceSize / 4;  // As the smallest chunk.
// How far ahead of large reads through the page cache the file is read.
constexpr int64_t kReadAheadBytes = 4 << 20;

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

absl::Status SyncFolder(FileSystem& file_system, const StorageMetrics& metrics,
                        const std::string& path) {
  const SyncTimer timer(metrics);
  return file_system.SyncFolder(path) ? absl::OkStatus() : IoError(metrics, "sync a folder");
}

// Makes a folder, if there is none, whose parent exists. Durable once the parent is synced.
absl::Status MakeFolder(FileSystem& file_system, const StorageMetrics& metrics,
                        const std::string& path) {
  if (!file_system.MakeFolder(path) && errno != EEXIST) return IoError(metrics, "make a folder");
  return absl::OkStatus();
}

size_t FirstByteOf(const BlobId& id) { return static_cast<unsigned char>(id.bytes().front()); }

std::string FolderPath(const std::string& directory, size_t first_byte) {
  return absl::StrFormat("%s/blobs/%02x", directory, first_byte);
}

// Makes all folders at once and durable, so that storing a blob need not.
absl::Status MakeFolders(FileSystem& file_system, const StorageMetrics& metrics,
                         const std::string& directory, size_t folders) {
  RETURN_IF_ERROR(MakeFolder(file_system, metrics, directory));
  RETURN_IF_ERROR(MakeFolder(file_system, metrics, absl::StrCat(directory, "/tmp")));
  RETURN_IF_ERROR(MakeFolder(file_system, metrics, absl::StrCat(directory, "/blobs")));
  for (size_t first_byte = 0; first_byte < folders; ++first_byte)
    RETURN_IF_ERROR(MakeFolder(file_system, metrics, FolderPath(directory, first_byte)));
  RETURN_IF_ERROR(SyncFolder(file_system, metrics, absl::StrCat(directory, "/blobs")));
  RETURN_IF_ERROR(SyncFolder(file_system, metrics, directory));
  return SyncFolder(file_system, metrics, absl::StrCat(directory, "/.."));
}

absl::Status RemoveLeftOverParts(FileSystem& file_system, const StorageMetrics& metrics,
                                 const std::string& folder) {
  absl::Status result;
  const bool is_listed = file_system.List(folder, [&](const FileSystem::Entry& part) {
    if (file_system.Remove(absl::StrCat(folder, "/", part.name))) {
      metrics.orphans_removed.Add();
    } else {
      result = IoError(metrics, "remove a left-over part");
    }
    return result.ok();
  });
  return is_listed ? result : IoError(metrics, "list parts");
}

// Renames a file to a name that must not be there yet; errno is EEXIST if it is.
bool RenameToNew(FileSystem& file_system, const std::string& from, const std::string& to) {
  if (file_system.RenameToNew(from, to)) return true;
  if (errno != EINVAL) return false;
  // A file system that cannot do this, such as NFS: a link replaces nothing either.
  if (!file_system.Link(from, to)) return false;
  if (file_system.Remove(from)) return true;
  const int error = errno;
  file_system.Remove(to);
  errno = error;
  return false;
}

// What a new blob must leave free in the file system of `file`, so that small files are still
// stored: as much as is reserved beside.
absl::StatusOr<int64_t> ReserveOf(const StorageMetrics& metrics, const File& file) {
  const std::optional<DiskSpace> disk = file.Disk();
  if (!disk) return IoError(metrics, "ask for free space");
  return SpaceReserve::SizeFor(disk->total_bytes);
}

// A blob on its way.
class PartFile final : public ByteSink {
 public:
  static absl::StatusOr<std::unique_ptr<PartFile>> Create(FileSystem& file_system,
                                                          const StorageMetrics& metrics,
                                                          BulkThrottle* throttle,
                                                          const std::string& path,
                                                          std::optional<int64_t> expected_size) {
    std::unique_ptr<File> file = file_system.Create(path, O_DIRECT);
    if (file == nullptr) return IoError(metrics, "create a file");
    ASSIGN_OR_RETURN(const int64_t reserve_bytes, ReserveOf(metrics, *file));
    std::unique_ptr<PartFile> part(new PartFile(metrics, throttle, std::move(file), reserve_bytes));
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
  PartFile(const StorageMetrics& metrics, BulkThrottle* throttle, std::unique_ptr<File> file,
           int64_t reserve_bytes)
      : metrics_(metrics), file_(std::move(file), reserve_bytes, throttle) {}

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
  StagedFile(FileSystem& file_system, const StorageMetrics& metrics, std::string part_path,
             std::string folder, std::string path)
      : file_system_(file_system),
        metrics_(metrics),
        part_path_(std::move(part_path)),
        folder_(std::move(folder)),
        path_(std::move(path)) {}
  ~StagedFile() override {
    if (leftover_ != nullptr) file_system_.Remove(*leftover_);
  }

  absl::Status Fill(ByteSource& source, BulkThrottle* throttle,
                    std::optional<int64_t> expected_size) {
    leftover_ = &part_path_;
    ASSIGN_OR_RETURN(part_,
                     PartFile::Create(file_system_, metrics_, throttle, part_path_, expected_size));
    RETURN_IF_ERROR(CopyAll(source, *part_).status());
    return part_->Flush();
  }

  int64_t size_bytes() const override { return part_->size_bytes(); }

  absl::Status Commit() override {
    RETURN_IF_ERROR(part_->Sync());
    if (!RenameToNew(file_system_, part_path_, path_)) return IoError(metrics_, "rename a file");
    leftover_ = &path_;
    RETURN_IF_ERROR(SyncFolder(file_system_, metrics_, folder_));
    leftover_ = nullptr;
    return absl::OkStatus();
  }

 private:
  FileSystem& file_system_;
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
  // `direct_file` is open on the same file for direct reads, or null.
  FileAccess(const StorageMetrics& metrics, std::shared_ptr<BulkThrottle> throttle,
             std::unique_ptr<File> file, std::unique_ptr<File> direct_file, int64_t size_bytes)
      : metrics_(metrics),
        throttle_(std::move(throttle)),
        file_(std::move(file)),
        direct_file_(std::move(direct_file)),
        size_bytes_(size_bytes) {}
  int64_t size_bytes() const override { return size_bytes_; }
  size_t read_depth() const override { return direct_file_ != nullptr ? IoQueue::kMaxDepth : 1; }
  bool TryStartReadAt(IoQueue& queue, int64_t offset, std::span<char> out) const override {
    return out.size() >= kLargeReadSize && IsForDirect(offset, out) &&
           queue.TryStart({IoOperation::Kind::kRead, direct_file_->descriptor(), out.data(),
                           out.size(), offset},
                          throttle_.get());
  }
  absl::Status ReadAt(int64_t offset, std::span<char> out) const override {
    if (out.size() >= kLargeReadSize) {
      if (TryReadDirect(offset, out)) return absl::OkStatus();
      // Who reads so much at once reads on. The kernel's own reading ahead is slower than disks.
      ::posix_fadvise(file_->descriptor(), offset + kReadAheadBytes, std::ssize(out),
                      POSIX_FADV_WILLNEED);
    }
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t got = file_->ReadAt(offset + static_cast<int64_t>(done), out.subspan(done));
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
    return direct_file_->ReadAt(offset, out) == std::ssize(out);
  }
  bool IsForDirect(int64_t offset, std::span<char> out) const {
    const auto address = reinterpret_cast<uintptr_t>(out.data());
    return direct_file_ != nullptr &&
           (static_cast<uintptr_t>(offset) | address | out.size()) % kBufferAlignment == 0 &&
           !IsCached(file_->descriptor(), offset, out.size());
  }

  const StorageMetrics metrics_;  // A reader may outlive its store.
  const std::shared_ptr<BulkThrottle> throttle_;
  const std::unique_ptr<File> file_;
  const std::unique_ptr<File> direct_file_;
  const int64_t size_bytes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LocalBlobStore>> LocalBlobStore::Open(
    const std::string& directory, const StorageMetrics& metrics, const SpaceReserve* reserve,
    std::shared_ptr<BulkThrottle> throttle, FileSystem& file_system) {
  RETURN_IF_ERROR(MakeFolders(file_system, metrics, directory, kFolders));
  RETURN_IF_ERROR(RemoveLeftOverParts(file_system, metrics, absl::StrCat(directory, "/tmp")));
  // Made now, on a thread whose priority is not low.
  IoEngine::Default();
  return std::unique_ptr<LocalBlobStore>(
      new LocalBlobStore(directory, metrics, reserve, std::move(throttle), file_system));
}

std::unique_ptr<LocalBlobStore> LocalBlobStore::OpenToRead(const std::string& directory,
                                                           FileSystem& file_system) {
  IoEngine::Default();
  return std::unique_ptr<LocalBlobStore>(new LocalBlobStore(directory, {}, /*reserve=*/nullptr,
                                                            /*throttle=*/nullptr, file_system,
                                                            /*may_be_missing=*/true));
}

std::string LocalBlobStore::FolderOf(const BlobId& id) const {
  return FolderPath(directory_, FirstByteOf(id));
}

std::string LocalBlobStore::PathOf(const BlobId& id) const {
  return absl::StrCat(FolderOf(id), "/", ToHex(id));
}

absl::StatusOr<std::unique_ptr<StagedBlob>> LocalBlobStore::Stage(
    const BlobId& id, ByteSource& source, std::optional<int64_t> expected_size) {
  if (reserve_ != nullptr) RETURN_IF_ERROR(reserve_->CheckGrowth());
  // The number keeps a second Stage() of the same id, which is a mistake, away from the first.
  auto staged = std::make_unique<StagedFile>(
      file_system_, metrics_, absl::StrCat(directory_, "/tmp/", ToHex(id), ".", ++parts_),
      FolderOf(id), PathOf(id));
  RETURN_IF_ERROR(staged->Fill(source, throttle_.get(), expected_size));
  return staged;
}

absl::StatusOr<std::unique_ptr<RandomAccess>> LocalBlobStore::Open(const BlobId& id) const {
  const std::string path = PathOf(id);
  std::unique_ptr<File> file = file_system_.Open(path, O_NOFOLLOW);
  if (file == nullptr && errno == ENOENT)
    return absl::NotFoundError(absl::StrCat("there is no blob ", ToHex(id)));
  const std::optional<int64_t> size_bytes = file == nullptr ? std::nullopt : file->SizeBytes();
  if (!size_bytes) return IoError(metrics_, "open a file");
  std::unique_ptr<File> direct_file;
  if (*size_bytes >= static_cast<int64_t>(kLargeReadSize))
    direct_file = file_system_.Open(path, O_NOFOLLOW | O_DIRECT);
  return std::make_unique<FileAccess>(metrics_, throttle_, std::move(file), std::move(direct_file),
                                      *size_bytes);
}

absl::StatusOr<bool> LocalBlobStore::Delete(const BlobId& id) {
  const bool was_there = file_system_.Remove(PathOf(id));
  if (!was_there && errno != ENOENT) return IoError(metrics_, "delete a file");
  has_deletes_[FirstByteOf(id)].store(true);
  return was_there;
}

absl::Status LocalBlobStore::SyncDeletes() {
  // Whoever finds nothing to be synced must not overtake the one who is at it.
  MutexLock lock(sync_mutex_);
  absl::Status first_error;
  for (size_t first_byte = 0; first_byte < kFolders; ++first_byte) {
    if (is_stopped_) return absl::CancelledError("told to stop");
    if (!has_deletes_[first_byte].exchange(false)) continue;
    // Nobody who stores something waits for these.
    if (file_system_.SyncFolder(FolderPath(directory_, first_byte))) continue;
    first_error.Update(IoError(metrics_, "sync a folder"));
    has_deletes_[first_byte].store(true);
  }
  return first_error;
}

absl::Status LocalBlobStore::List(const std::function<absl::Status(const BlobInfo&)>& visit) const {
  for (size_t first_byte = 0; first_byte < kFolders; ++first_byte) {
    const std::string folder = FolderPath(directory_, first_byte);
    absl::Status result;
    const bool is_listed = file_system_.List(folder, [&](const FileSystem::Entry& entry) {
      const std::optional<BlobId> id = BlobIdFromHex(entry.name);
      if (id) result = visit({*id, entry.size_bytes});
      return result.ok();
    });
    const bool is_missing = !is_listed && errno == ENOENT && may_be_missing_;
    if (!is_listed && !is_missing) return IoError(metrics_, "list a folder");
    RETURN_IF_ERROR(result);
  }
  return absl::OkStatus();
}

}  // namespace backup::storage
