#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "storage/catalog/catalog.h"
#include "storage/sqlite/database.h"
#include "storage/sqlite/seen_times.h"
#include "storage/sqlite/write_queue.h"

namespace backup::storage {

// The catalog in one SQLite file: write-ahead log, every commit synced, one writing connection
// behind a WriteQueue and a few read-only ones that never checkpoint (this SQLite has a defect when
// several connections do). Only one process may have it open. Thread-safe.
class SqliteCatalog final : public Catalog {
 public:
  // Opens or makes the catalog and migrates it. Unimplemented if it is of a newer schema. `vfs` as
  // for Database::Open().
  static absl::StatusOr<std::unique_ptr<SqliteCatalog>> Open(const std::string& path,
                                                             const StorageMetrics& metrics = {},
                                                             const char* vfs = nullptr);
  ~SqliteCatalog() override;

  void Submit(Work work, Done done) override;

 private:
  SqliteCatalog(std::string path, std::unique_ptr<Database> writer, const StorageMetrics& metrics,
                const char* vfs)
      : path_(std::move(path)),
        metrics_(metrics),
        vfs_(vfs),
        writes_(std::move(writer), WriteQueue::kMaxWaiting, metrics) {}

  absl::Status ReadSnapshot(const std::function<absl::Status(Snapshot&)>& read) override;
  absl::StatusOr<std::unique_ptr<Database>> TakeReader();
  void GiveBack(std::unique_ptr<Database> reader);
  // Puts them before the next work that waits for the writer, and so, as a rule, in its commit.
  void SubmitSeenTimes();

  const std::string path_;
  const StorageMetrics metrics_;
  const char* const vfs_;
  SeenTimes seen_;  // Before the writer, which adds to it.
  // Before the readers: the last connection to close must be able to empty the log.
  WriteQueue writes_;
  Mutex mutex_;
  std::vector<std::unique_ptr<Database>> idle_readers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::storage
