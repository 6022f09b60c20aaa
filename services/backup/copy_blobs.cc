#include "services/backup/copy_blobs.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/aligned_buffer.h"
#include "base/byte_stream.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "base/start_thread.h"
#include "base/status_macros.h"
#include "content/blob_footer.h"
#include "content/pack_footer.h"
#include "crypto/sha256.h"

namespace backup {
namespace {

using storage::BlobInfo;

// At once: what two disks take; and what a store over a network takes, each of whose requests
// waits.
constexpr int kLocalWorkers = 4;
constexpr int kRemoteWorkers = 16;
constexpr size_t kMaxJournalSize = size_t{1} << 32;
constexpr char kBlobsProgress[] = "blobs";

// All bytes of a blob, and their digest.
class DigestedBlob final : public ByteSource {
 public:
  explicit DigestedBlob(const RandomAccess& blob)
      : blob_(blob), buffer_(TakeAlignedBuffer(kPieceSize)) {}

  absl::StatusOr<absl::string_view> Read() override {
    const auto size = static_cast<size_t>(
        std::min<int64_t>(static_cast<int64_t>(kPieceSize), blob_.size_bytes() - offset_));
    const std::span<char> piece(buffer_.get(), size);
    read_ = size == 0 ? absl::OkStatus() : blob_.ReadAt(offset_, piece);
    RETURN_IF_ERROR(read_);
    offset_ += static_cast<int64_t>(size);
    const absl::string_view bytes(piece.data(), piece.size());
    digest_.Update(bytes);
    return bytes;
  }

  // After all of it was read.
  std::string Digest() { return digest_.Finish(); }
  // How the last read went, which tells an error of this from one of whoever took the bytes.
  const absl::Status& read() const { return read_; }

 private:
  const RandomAccess& blob_;
  const AlignedBuffer buffer_;
  int64_t offset_ = 0;
  crypto::Sha256 digest_;
  absl::Status read_;
};

absl::StatusOr<std::string> DigestOf(const RandomAccess& blob) {
  DigestedBlob source(blob);
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, source.Read());
    if (piece.empty()) return source.Digest();
  }
}

// Whether it says what it is, as all blobs do at their end.
bool SaysWhatItIs(const RandomAccess& blob) {
  const absl::StatusOr<bool> is_pack = content::IsPack(blob);
  if (!is_pack.ok()) return false;
  return *is_pack ? content::ReadPackFooter(blob).ok() : content::ReadFooter(blob).ok();
}

absl::StatusOr<std::vector<BlobInfo>> SortedList(const storage::BlobStore& store) {
  std::vector<BlobInfo> blobs;
  RETURN_IF_ERROR(store.List([&](const BlobInfo& blob) {
    blobs.push_back(blob);
    return absl::OkStatus();
  }));
  std::sort(blobs.begin(), blobs.end(),
            [](const BlobInfo& a, const BlobInfo& b) { return a.id < b.id; });
  return blobs;
}

// Null if it is not there.
const BlobInfo* Find(const std::vector<BlobInfo>& sorted, const BlobId& id) {
  const auto found =
      std::lower_bound(sorted.begin(), sorted.end(), id,
                       [](const BlobInfo& blob, const BlobId& wanted) { return blob.id < wanted; });
  return found != sorted.end() && found->id == id ? &*found : nullptr;
}

}  // namespace

absl::StatusOr<BlobCopyReport> BlobCopy::Run() {
  RETURN_IF_ERROR(OpenJournal());
  ASSIGN_OR_RETURN(const Lists lists, List());
  RETURN_IF_ERROR(CopyThose(lists));
  return report_;
}

absl::StatusOr<BlobCopyReport> BlobCopy::Finish() {
  RETURN_IF_ERROR(Run().status());
  ASSIGN_OR_RETURN(const Lists lists, List());
  RETURN_IF_ERROR(RemoveOthers(lists));
  return report_;
}

absl::Status BlobCopy::RemoveJournal() {
  FileSystem& files = FileSystem::Real();
  journal_.reset();
  for (int number = 1;; ++number) {
    const std::string path = absl::StrCat(journal_path_, ".", number);
    if (files.Remove(path)) continue;
    return errno == ENOENT ? absl::OkStatus()
                           : absl::ErrnoToStatus(errno, absl::StrCat("cannot remove ", path));
  }
}

absl::StatusOr<BlobCopy::Lists> BlobCopy::List() const {
  Lists lists;
  ASSIGN_OR_RETURN(lists.source, SortedList(source_));
  ASSIGN_OR_RETURN(lists.target, SortedList(target_));
  return lists;
}

absl::Status BlobCopy::OpenJournal() {
  if (journal_ != nullptr) return absl::OkStatus();
  int number = 1;
  for (;; ++number) {
    const std::string path = absl::StrCat(journal_path_, ".", number);
    const std::optional<std::string> ids = ReadSmallFile(path, kMaxJournalSize);
    if (!ids && errno == ENOENT) break;
    if (!ids) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    // What was being written last may not be whole.
    for (size_t at = 0; at + BlobId::kSize <= ids->size(); at += BlobId::kSize)
      done_.insert(*BlobId::FromBytes(absl::string_view(*ids).substr(at, BlobId::kSize)));
  }
  const std::string path = absl::StrCat(journal_path_, ".", number);
  journal_ = FileSystem::Real().Create(path, /*flags=*/0);
  if (journal_ != nullptr) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", path));
}

absl::Status BlobCopy::CopyThose(const Lists& lists) {
  std::vector<BlobInfo> left;
  for (const BlobInfo& blob : lists.source) {
    total_bytes_ += blob.size_bytes;
    const BlobInfo* const there = Find(lists.target, blob.id);
    const bool is_done =
        done_.contains(blob.id) && there != nullptr && there->size_bytes == blob.size_bytes;
    if (is_done) Note(blob, /*was_copied=*/false, /*is_damaged=*/false);
    if (!is_done) left.push_back(blob);
  }
  next_ = 0;
  const bool is_far = source_.is_elsewhere() || target_.is_elsewhere();
  std::vector<std::thread> workers;
  for (int i = 1; i < (is_far ? kRemoteWorkers : kLocalWorkers); ++i) {
    std::optional<std::thread> worker = TryStartThread([&] { Work(left, lists); });
    if (worker) workers.push_back(*std::move(worker));
  }
  Work(left, lists);
  for (std::thread& worker : workers) worker.join();
  return failure_;
}

void BlobCopy::Work(const std::vector<BlobInfo>& blobs, const Lists& lists) {
  while (true) {
    const size_t place = next_++;
    if (place >= blobs.size()) return;
    absl::Status copied = listener_.check();
    if (copied.ok()) copied = CopyOne(blobs[place], Find(lists.target, blobs[place].id) != nullptr);
    if (copied.ok()) continue;
    MutexLock lock(mutex_);
    failure_.Update(copied);
    next_ = blobs.size();
    return;
  }
}

absl::Status BlobCopy::CopyOne(const BlobInfo& blob, bool is_there) {
  const absl::StatusOr<std::unique_ptr<RandomAccess>> source = source_.Open(blob.id);
  if (absl::IsNotFound(source.status())) return absl::OkStatus();  // It is gone by now.
  if (!source.ok()) return NoteUnreadable(blob.id, source.status());
  DigestedBlob digested(**source);
  std::string digest;
  if (is_there) {
    // Of a run that ended before it could compare.
    const absl::StatusOr<std::string> read = DigestOf(**source);
    if (!read.ok()) return NoteUnreadable(blob.id, read.status());
    digest = *read;
  } else {
    const absl::Status stored = target_.Put(blob.id, digested, (*source)->size_bytes()).status();
    if (absl::IsNotFound(digested.read())) return absl::OkStatus();
    if (!digested.read().ok()) return NoteUnreadable(blob.id, digested.read());
    RETURN_IF_ERROR(stored);
    digest = digested.Digest();
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccess> copy, target_.Open(blob.id));
  ASSIGN_OR_RETURN(const std::string digest_there, DigestOf(*copy));
  if (digest_there != digest) {
    // The next run stores it again.
    RETURN_IF_ERROR(target_.Delete(blob.id).status());
    return absl::DataLossError(
        absl::StrCat("the blob ", ToHex(blob.id),
                     " did not come back as it was stored: look at the disk of the new place; the "
                     "same command goes on"));
  }
  MutexLock lock(mutex_);
  Note({blob.id, (*source)->size_bytes()}, /*was_copied=*/true, !SaysWhatItIs(*copy));
  if (journal_->WriteAt(journal_bytes_, blob.id.bytes()) != std::ssize(blob.id.bytes()))
    return absl::ErrnoToStatus(errno, "cannot write down which blobs are copied");
  journal_bytes_ += std::ssize(blob.id.bytes());
  return absl::OkStatus();
}

void BlobCopy::Note(const BlobInfo& blob, bool was_copied, bool is_damaged) {
  done_.insert(blob.id);
  ++report_.blobs;
  report_.bytes += blob.size_bytes;
  if (was_copied) ++report_.copied;
  if (was_copied) report_.copied_bytes += blob.size_bytes;
  if (is_damaged) ++report_.damaged_count;
  if (is_damaged && report_.damaged.size() < BlobCopyReport::kMaxNamed)
    report_.damaged.push_back(ToHex(blob.id));
  listener_.progress(kBlobsProgress, report_.bytes, total_bytes_);
}

absl::Status BlobCopy::NoteUnreadable(const BlobId& id, const absl::Status& why) {
  // A store that is away says nothing of this blob.
  if (storage::SaysStoreIsAway(why)) return why;
  MutexLock lock(mutex_);
  ++report_.unreadable_count;
  if (report_.unreadable.size() < BlobCopyReport::kMaxNamed)
    report_.unreadable.push_back(absl::StrCat(ToHex(id), ": ", why.message()));
  return absl::OkStatus();
}

absl::Status BlobCopy::RemoveOthers(const Lists& lists) {
  for (const BlobInfo& blob : lists.target) {
    if (Find(lists.source, blob.id) != nullptr) continue;
    RETURN_IF_ERROR(target_.Delete(blob.id).status());
    done_.erase(blob.id);
    ++report_.removed;
  }
  return target_.SyncDeletes();
}

}  // namespace backup
