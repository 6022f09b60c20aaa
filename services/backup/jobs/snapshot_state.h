#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "crypto/master_key.h"
#include "services/backup/jobs/job.h"
#include "storage/catalog/catalog.h"
#include "storage/snapshot_folder.h"

namespace backup::jobs {

// What is measured of snapshots. Default-constructed: nothing. Thread-safe.
struct SnapshotMetrics {
  SnapshotMetrics() = default;
  // `metrics` must outlive the use of this.
  explicit SnapshotMetrics(Metrics& metrics);

  Gauge size;      // Of the newest one.
  Gauge duration;  // How long it took.
};

// Takes snapshots of the catalog (content/snapshot_file.h) while it is in use, one at a time, and
// keeps some of them (storage/snapshot_folder.h). What other stores have in the same folders stays
// as it is. Memory is bounded; for a moment the disk holds a
// copy of the catalog besides. Thread-safe.
class StateSnapshots {
 public:
  struct Options {
    // The store's own folder, and maybe another one, which gets a copy of each.
    std::vector<std::string> folders;
    // What part of the time it works, and so of the disk's and a processor's speed it takes.
    double part_of_time = 0.05;
    // Asked before each is put into the folders; an error keeps it from there. Thread-safe.
    std::function<absl::Status()> check = [] { return absl::OkStatus(); };
    storage::SnapshotFolder::Listener listener = [](absl::string_view) {};  // For tests.
  };
  struct Taken {
    storage::SnapshotFolder::Entry entry;
    std::vector<std::string> paths;  // Of all copies of it.
    int64_t catalog_size = 0;        // Bytes of what is in it.
  };

  // What is borrowed must outlive this.
  StateSnapshots(storage::Catalog& catalog, const crypto::MasterKey& master_key, const Clock& clock,
                 const Options& options, const SnapshotMetrics& metrics = {});

  // Takes a snapshot, after the one that is being taken, if any. What was kept before goes only
  // after it. Errors: reasons STATE_CORRUPT (the catalog is damaged: no snapshot is made of it),
  // STORAGE_FULL, STORAGE_IO; Cancelled if `token` is told to stop; Options::check's. What a folder
  // says that cannot be written to keeps nothing from the others.
  absl::StatusOr<Taken> Take(const std::stop_token& token);
  // The same, but nothing if the newest one has all that changed since, or is of this process's
  // predecessor and not older than `interval`; nor of a catalog that no client came to yet. A
  // folder that does not have the newest one gets it.
  absl::StatusOr<std::optional<Taken>> TakeIfChanged(absl::Duration interval,
                                                     const std::stop_token& token);

 private:
  // Until EndTurn() nobody else has it. Cancelled if `token` is told to stop.
  absl::Status WaitForTurn(const std::stop_token& token);
  void EndTurn();
  absl::StatusOr<Taken> TakeNow(const std::stop_token& token) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<bool> IsCovered(absl::Duration interval) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Finds out how the store is called in the names of its snapshots, or gives it such a name.
  absl::Status NameStore() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // From a copy of the catalog at `copy_path` to a snapshot in the first folder.
  absl::StatusOr<Taken> Store(const std::string& copy_path, absl::Time time,
                              int64_t next_version_id, const std::stop_token& token)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Gives the other folders what the first one has newest; returns all its paths.
  absl::StatusOr<std::vector<std::string>> CopyNewest(const std::stop_token& token)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // In each folder, whatever the others say.
  absl::Status RemoveExpired() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  storage::Catalog& catalog_;
  const crypto::MasterKey& master_key_;
  const Clock& clock_;
  const Options options_;
  const SnapshotMetrics metrics_;
  Mutex turn_mutex_;
  CondVar turn_ended_;
  bool is_taking_ ABSL_GUARDED_BY(turn_mutex_) = false;
  Mutex mutex_;  // Held while one is taken, by whose turn it is.
  std::vector<storage::SnapshotFolder> folders_ ABSL_GUARDED_BY(mutex_);
  std::string store_ ABSL_GUARDED_BY(mutex_);                       // Once NameStore() was called.
  std::optional<int64_t> covered_changes_ ABSL_GUARDED_BY(mutex_);  // Of Catalog::changes().
};

// Takes a snapshot at each run, unless nothing changed. Counts snapshots. Used by one thread at a
// time.
class SnapshotState final : public Job {
 public:
  static constexpr absl::string_view kName = "snapshot";

  // `snapshots` must outlive this.
  SnapshotState(StateSnapshots& snapshots, absl::Duration interval)
      : snapshots_(snapshots), interval_(interval) {}

  absl::string_view name() const override { return kName; }
  // One step is a run, whatever the budget; there is no cursor.
  absl::StatusOr<Progress> Step(const std::string& cursor, int64_t budget,
                                const std::stop_token& token) override;

 private:
  StateSnapshots& snapshots_;
  const absl::Duration interval_;
};

}  // namespace backup::jobs
