#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "storage/catalog/catalog.h"
#include "storage/damage_note.h"
#include "storage/seen_times.h"
#include "storage/sqlite/database.h"
#include "storage/sqlite/write_queue.h"

namespace backup::storage {

// The catalog in one SQLite file: write-ahead log, every commit synced, one writing connection
// behind a WriteQueue and a few read-only ones that never checkpoint (this SQLite has a defect when
// several connections do). Only one process may have it open. Thread-safe.
class SqliteCatalog final : public Catalog {
 public:
  struct Options {
    const char* vfs = nullptr;  // As for Database::Open().
    // What it falls back on when there is no room; must outlive the catalog. Null: nothing.
    SpaceReserve* reserve = nullptr;
    std::shared_ptr<BulkThrottle> throttle = nullptr;  // As for WriteQueue.
    bool rebuild = false;  // An old catalog of whatever size (rebuild.h).
  };

  // Opens or makes the catalog and migrates it. Unimplemented if it is of a newer schema.
  static absl::StatusOr<std::unique_ptr<SqliteCatalog>> Open(const std::string& path,
                                                             const StorageMetrics& metrics,
                                                             const Options& options);
  static absl::StatusOr<std::unique_ptr<SqliteCatalog>> Open(const std::string& path) {
    return Open(path, {}, {});
  }
  ~SqliteCatalog() override;

  void Submit(Work work, Done done) override;
  absl::StatusOr<Compacted> Compact() override;
  absl::Status CopyTo(const std::string& path, const std::function<void()>& pause,
                      const std::stop_token& token) override;
  absl::Status Check(const std::function<void()>& pause, const std::stop_token& token) override;
  absl::Status damage() const override;
  int64_t changes() const override { return changes_.load(); }

 private:
  SqliteCatalog(std::string path, std::unique_ptr<Database> writer, const StorageMetrics& metrics,
                const Options& options, std::shared_ptr<DamageNote> note)
      : path_(std::move(path)),
        metrics_(metrics),
        vfs_(options.vfs),
        reserve_(options.reserve),
        damage_(std::move(note)),
        writes_(std::move(writer), WriteQueue::kMaxWaiting, metrics, options.reserve,
                options.throttle) {}

  absl::Status ReadSnapshot(const std::function<absl::Status(Snapshot&)>& read) override;
  absl::StatusOr<std::unique_ptr<Database>> OpenReader() const;
  // One of those that are open, or another one if none is idle. Where that cannot be opened, as
  // without descriptors, or many are in use, it waits for one, for at most kReaderWait.
  absl::StatusOr<std::unique_ptr<Database>> TakeReader();
  // Until one is given back, for a while; whether it was not past `end` yet.
  bool WaitForReader(std::chrono::steady_clock::time_point end)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Null if it is of no more use.
  void GiveBack(std::unique_ptr<Database> reader);
  std::unique_ptr<Database> PopIdleReader() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Puts them before the next work that waits for the writer, and so, as a rule, in its commit.
  void SubmitSeenTimes();

  const std::string path_;
  const StorageMetrics metrics_;
  const char* const vfs_;
  SpaceReserve* const reserve_;
  const std::shared_ptr<DamageNote> damage_;  // Its connections share it.
  std::atomic<int64_t> changes_ = 0;
  SeenTimes seen_;  // Before the writer, which adds to it.
  // Before the readers: the last connection to close must be able to empty the log.
  WriteQueue writes_;
  Mutex mutex_;
  CondVar given_back_;
  int taken_readers_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::unique_ptr<Database>> idle_readers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::storage
