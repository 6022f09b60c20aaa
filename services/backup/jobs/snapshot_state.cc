#include "services/backup/jobs/snapshot_state.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/low_priority_thread.h"
#include "base/piece_buffers.h"
#include "base/status_macros.h"
#include "content/snapshot_file.h"
#include "crypto/random.h"
#include "glog/logging.h"
#include "services/backup/jobs/pace.h"

namespace backup::jobs {
namespace {

using storage::SnapshotFolder;

constexpr MetricName kSize{"backup_snapshot_size_bytes",
                           "Size of the newest snapshot of the state"};
constexpr MetricName kDuration{"backup_snapshot_duration_seconds",
                               "How long it took to take the newest snapshot of the state"};
// The copy that a snapshot is made of, in the first folder; always made anew.
constexpr absl::string_view kCopy = "/catalog.copy";
// Of the name that tells the snapshots of one store from those of others.
constexpr size_t kStoreBytes = 8;
// How often who waits looks whether it is told to stop.
constexpr absl::Duration kTurnPoll = absl::Milliseconds(100);

// Pauses between what it reads.
class PacedSource final : public ByteSource {
 public:
  PacedSource(ByteSource& source, TimeShare& share, const std::stop_token& token)
      : source_(source), share_(share), token_(token) {}
  absl::StatusOr<absl::string_view> Read() override {
    share_.Rest(token_);
    if (token_.stop_requested()) return absl::CancelledError("told to stop");
    return source_.Read();
  }

 private:
  ByteSource& source_;
  TimeShare& share_;
  const std::stop_token& token_;
};

void RemoveCopy(const std::string& path) {
  for (const char* const end : {"", "-wal", "-shm", "-journal"})
    ::unlink(absl::StrCat(path, end).c_str());
}

absl::StatusOr<int64_t> NextVersionId(storage::Catalog& catalog) {
  return catalog.Read([](storage::Snapshot& snapshot) { return snapshot.NextVersionId(); });
}

}  // namespace

SnapshotMetrics::SnapshotMetrics(Metrics& metrics)
    : size(metrics.AddGauge(kSize)), duration(metrics.AddGauge(kDuration)) {}

StateSnapshots::StateSnapshots(storage::Catalog& catalog, const crypto::MasterKey& master_key,
                               const Clock& clock, const Options& options,
                               const SnapshotMetrics& metrics)
    : catalog_(catalog),
      master_key_(master_key),
      clock_(clock),
      options_(options),
      metrics_(metrics) {
  CHECK(!options_.folders.empty());
  for (const std::string& path : options_.folders) folders_.emplace_back(path, options_.listener);
}

absl::Status StateSnapshots::WaitForTurn(const std::stop_token& token) {
  MutexLock lock(turn_mutex_);
  while (is_taking_) {
    if (token.stop_requested()) return absl::CancelledError("told to stop");
    turn_ended_.WaitFor(turn_mutex_, kTurnPoll);
  }
  is_taking_ = true;
  return absl::OkStatus();
}

void StateSnapshots::EndTurn() {
  MutexLock lock(turn_mutex_);
  is_taking_ = false;
  turn_ended_.NotifyOne();
}

absl::StatusOr<StateSnapshots::Taken> StateSnapshots::Take(const std::stop_token& token) {
  RETURN_IF_ERROR(WaitForTurn(token));
  const absl::Cleanup end_turn = [this] { EndTurn(); };
  MutexLock lock(mutex_);
  return TakeNow(token);
}

absl::StatusOr<std::optional<StateSnapshots::Taken>> StateSnapshots::TakeIfChanged(
    absl::Duration interval, const std::stop_token& token) {
  RETURN_IF_ERROR(WaitForTurn(token));
  const absl::Cleanup end_turn = [this] { EndTurn(); };
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const storage::Counts counts,
                   catalog_.Read([](storage::Snapshot& snapshot) { return snapshot.Count(); }));
  if (counts.clients == 0 && counts.versions == 0) return std::nullopt;
  ASSIGN_OR_RETURN(const bool is_covered, IsCovered(interval));
  if (!is_covered) return TakeNow(token);
  RETURN_IF_ERROR(CopyNewest(token).status());
  return std::nullopt;
}

absl::StatusOr<bool> StateSnapshots::IsCovered(absl::Duration interval) {
  RETURN_IF_ERROR(catalog_.damage());
  RETURN_IF_ERROR(NameStore());
  ASSIGN_OR_RETURN(const std::vector<SnapshotFolder::Entry> entries,
                   folders_.front().ListOf(store_));
  if (entries.empty()) return false;
  if (covered_changes_) return *covered_changes_ == catalog_.changes();
  const absl::Duration age = clock_.Now() - entries.front().time;
  return age >= absl::ZeroDuration() && age < interval;
}

absl::Status StateSnapshots::NameStore() {
  if (!store_.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<std::string> known,
                   catalog_.Read([](storage::Snapshot& snapshot) {
                     return snapshot.FindStoreValue(SnapshotFolder::kStoreValue);
                   }));
  if (known) {
    store_ = *known;
    return absl::OkStatus();
  }
  const std::string name = absl::BytesToHexString(crypto::RandomBytes(kStoreBytes));
  ASSIGN_OR_RETURN(store_, catalog_.Run([&](storage::Transaction& transaction) {
    return transaction.AddStoreValue(SnapshotFolder::kStoreValue, name);
  }));
  return absl::OkStatus();
}

absl::StatusOr<StateSnapshots::Taken> StateSnapshots::TakeNow(const std::stop_token& token) {
  const auto begin = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(catalog_.damage());
  RETURN_IF_ERROR(NameStore());
  RETURN_IF_ERROR(folders_.front().Make());
  const std::string copy_path = absl::StrCat(folders_.front().path(), kCopy);
  RemoveCopy(copy_path);
  const absl::Cleanup remove_copy = [&] { RemoveCopy(copy_path); };
  const int64_t changes = catalog_.changes();
  const absl::Time time = clock_.Now();
  // At most that of the copy: what is reserved meanwhile is only to be skipped.
  ASSIGN_OR_RETURN(const int64_t next_version_id, NextVersionId(catalog_));
  TimeShare share(options_.part_of_time);
  options_.listener("catalog is to be copied");
  RETURN_IF_ERROR(catalog_.CopyTo(
      copy_path, [&] { share.Rest(token); }, token));
  options_.listener("catalog is copied");
  RETURN_IF_ERROR(options_.check());
  ASSIGN_OR_RETURN(Taken taken, Store(copy_path, time, next_version_id, token));
  covered_changes_ = changes;
  absl::StatusOr<std::vector<std::string>> paths = CopyNewest(token);
  const absl::Status removed = RemoveExpired();
  RETURN_IF_ERROR(paths.status());
  RETURN_IF_ERROR(removed);
  taken.paths = *std::move(paths);
  const absl::Duration took = absl::FromChrono(std::chrono::steady_clock::now() - begin);
  metrics_.size.Set(static_cast<double>(taken.entry.size_bytes));
  metrics_.duration.Set(absl::ToDoubleSeconds(took));
  VLOG(1) << "a snapshot of the state was taken in " << took << ": " << taken.paths.front() << ", "
          << taken.entry.size_bytes << " bytes of " << taken.catalog_size;
  return taken;
}

absl::StatusOr<StateSnapshots::Taken> StateSnapshots::Store(const std::string& copy_path,
                                                            absl::Time time,
                                                            int64_t next_version_id,
                                                            const std::stop_token& token) {
  // Above all in each folder, of whatever store: a data directory that was lost was another one,
  // and may have had the same key.
  int64_t number = 1;
  for (const SnapshotFolder& folder : folders_) {
    const absl::StatusOr<std::vector<SnapshotFolder::Entry>> entries = folder.List();
    if (entries.ok() && !entries->empty()) number = std::max(number, entries->front().number + 1);
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccess> copy, storage::OpenFile(copy_path));
  PieceBudget budget;
  RangeSource catalog(*copy, budget, 0, copy->size_bytes());
  TimeShare share(options_.part_of_time);
  PacedSource paced(catalog, share, token);
  content::SnapshotSource source(paced, time, next_version_id, master_key_);
  Taken taken;
  ASSIGN_OR_RETURN(taken.entry, folders_.front().Put(number, time, store_, source));
  taken.catalog_size = copy->size_bytes();
  return taken;
}

absl::StatusOr<std::vector<std::string>> StateSnapshots::CopyNewest(const std::stop_token& token) {
  ASSIGN_OR_RETURN(const std::vector<SnapshotFolder::Entry> entries,
                   folders_.front().ListOf(store_));
  const SnapshotFolder::Entry& newest = entries.front();
  std::vector<std::string> paths = {folders_.front().PathOf(newest)};
  for (size_t i = 1; i < folders_.size(); ++i) {
    ASSIGN_OR_RETURN(const std::vector<SnapshotFolder::Entry> there, folders_[i].List());
    if (std::find(there.begin(), there.end(), newest) == there.end()) {
      ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccess> file, folders_.front().Open(newest));
      PieceBudget budget;
      RangeSource bytes(*file, budget, 0, file->size_bytes());
      TimeShare share(options_.part_of_time);
      PacedSource paced(bytes, share, token);
      RETURN_IF_ERROR(folders_[i].Put(newest.number, newest.time, newest.store, paced).status());
    }
    paths.push_back(folders_[i].PathOf(newest));
  }
  return paths;
}

absl::Status StateSnapshots::RemoveExpired() {
  absl::Status result = absl::OkStatus();
  for (SnapshotFolder& folder : folders_) {
    const absl::StatusOr<std::vector<SnapshotFolder::Entry>> entries = folder.ListOf(store_);
    result.Update(entries.status());
    if (!entries.ok()) continue;
    for (const SnapshotFolder::Entry& entry : SnapshotFolder::Expired(*entries))
      result.Update(folder.Remove(entry));
  }
  return result;
}

absl::StatusOr<Job::Progress> SnapshotState::Step(const std::string& /*cursor*/, int64_t /*budget*/,
                                                  const std::stop_token& token) {
  BecomeLowPriority();
  const absl::StatusOr<std::optional<StateSnapshots::Taken>> taken =
      snapshots_.TakeIfChanged(interval_, token);
  Progress progress;
  if (token.stop_requested()) return progress;  // The next process takes it.
  RETURN_IF_ERROR(taken.status());
  progress.is_done = true;
  progress.count = *taken ? 1 : 0;
  return progress;
}

}  // namespace backup::jobs
