#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/file_system.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "storage/blob_store.h"

namespace backup {

// What a migration tells while it works, and asks.
struct MigrationListener {
  // How far it is with `what`, of a total that is 0 if nobody knows it. One thread at a time.
  std::function<void(absl::string_view what, int64_t done, int64_t total)> progress =
      [](absl::string_view, int64_t, int64_t) {};
  // Cancelled if it is to end; what it did so far is kept. Thread-safe.
  std::function<absl::Status()> check = [] { return absl::OkStatus(); };
};

struct BlobCopyReport {
  // So many are named.
  static constexpr size_t kMaxNamed = 1000;

  int64_t blobs = 0;  // That are at both places, and their bytes.
  int64_t bytes = 0;
  int64_t copied = 0;  // Of these, by this run.
  int64_t copied_bytes = 0;
  int64_t removed = 0;  // That the source had when they were copied, and has no more.
  // Copied as they are, though they do not say what they are as they should: damaged at the source.
  std::vector<std::string> damaged;
  int64_t damaged_count = 0;            // Also of those that are not named. The same of the next:
  std::vector<std::string> unreadable;  // Those that the source could not read, and why.
  int64_t unreadable_count = 0;
};

// Copies all blobs of one store to another, which has no others: several at once, each read back
// from there and compared by SHA-256. Those that an earlier run has compared (a file for each run,
// JOURNAL.N, says so) are not read again, whenever that ended; those that it has only stored are.
// What comes to the source or goes meanwhile is left to the next run. Used by one thread at a time.
class BlobCopy {
 public:
  BlobCopy(const storage::BlobStore& source, storage::BlobStore& target, std::string journal,
           const MigrationListener& listener)
      : source_(source), target_(target), journal_path_(std::move(journal)), listener_(listener) {}

  // Errors: those of the stores; DataLoss if what came back is not what was stored; Cancelled.
  absl::StatusOr<BlobCopyReport> Run();
  // The same, of a source that nobody changes: afterwards the target has the same blobs, but for
  // those that cannot be read, and no others.
  absl::StatusOr<BlobCopyReport> Finish();
  // Once all is done.
  absl::Status RemoveJournal();

  // After Finish(): whether the target has it.
  bool Has(const BlobId& id) const { return done_.contains(id); }

 private:
  // What a run found at both places, in the order of ids.
  struct Lists {
    std::vector<storage::BlobInfo> source;
    std::vector<storage::BlobInfo> target;
  };

  absl::StatusOr<Lists> List() const;
  absl::Status OpenJournal();
  absl::Status CopyThose(const Lists& lists);
  // Until none is left, or one fails.
  void Work(const std::vector<storage::BlobInfo>& blobs, const Lists& lists);
  absl::Status CopyOne(const storage::BlobInfo& blob, bool is_there);
  void Note(const storage::BlobInfo& blob, bool was_copied, bool is_damaged);
  absl::Status NoteUnreadable(const BlobId& id, const absl::Status& why);
  absl::Status RemoveOthers(const Lists& lists);

  const storage::BlobStore& source_;
  storage::BlobStore& target_;
  const std::string journal_path_;
  const MigrationListener& listener_;
  std::atomic<size_t> next_ = 0;
  Mutex mutex_;
  // State below is protected by mutex_ while workers run.
  BlobCopyReport report_;
  absl::flat_hash_set<BlobId> done_;  // Compared, by this run or an earlier one.
  std::unique_ptr<File> journal_;
  int64_t journal_bytes_ = 0;
  int64_t total_bytes_ = 0;
  absl::Status failure_;
};

}  // namespace backup
