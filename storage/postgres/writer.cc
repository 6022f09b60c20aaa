#include "storage/postgres/writer.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::storage::postgres {

Writer::Writer(Connector& connector, DamageNote& damage, const StorageMetrics& metrics,
               std::shared_ptr<BulkThrottle> throttle)
    : connector_(connector),
      damage_(damage),
      metrics_(metrics),
      throttle_(std::move(throttle)),
      thread_([this] { Run(); }) {}

Writer::~Writer() {
  {
    MutexLock lock(mutex_);
    ending_ = true;
    arrived_.NotifyOne();
  }
  thread_.join();
}

void Writer::Submit(Catalog::Work work, Catalog::Done done) {
  Entry entry{std::move(work), std::move(done)};
  {
    MutexLock lock(mutex_);
    if (waiting_.size() < kMaxWaiting) {
      waiting_.push_back(std::move(entry));
      if (waiting_.size() == 1) arrived_.NotifyOne();  // Else it is awake, or about to look again.
      return;
    }
  }
  entry.done(MakeError(Reason::kOverloaded,
                       "too many requests wait for the catalog; try again later", "catalog"));
}

std::vector<Writer::Entry> Writer::TakeWaiting(size_t max) {
  std::vector<Entry> taken;
  MutexLock lock(mutex_);
  while (waiting_.empty() && !ending_) arrived_.Wait(mutex_);
  while (!waiting_.empty() && taken.size() < max) {
    taken.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return taken;
}

void Writer::Run() {
  while (true) {
    std::vector<Entry> taken = TakeWaiting(kMaxBatch);
    if (taken.empty()) break;
    const Attempt attempt = WriteAll(taken);
    if (attempt.ending == Ending::kNoConnection) TurnAway(attempt.status);
  }
  // What nobody wrote may be lost; at the end there is time for it.
  Entry last{[](Transaction&) { return absl::OkStatus(); }, [](const absl::Status&) {}};
  WriteAll({&last, 1});
}

void Writer::TurnAway(const absl::Status& error) {
  std::deque<Entry> waiting;
  {
    MutexLock lock(mutex_);
    waiting.swap(waiting_);
  }
  for (const Entry& entry : waiting) entry.done(error);
}

Writer::Attempt Writer::WriteAll(std::span<Entry> batch) {
  Attempt attempt = WriteOrReconnect(batch);
  if (attempt.ending != Ending::kConflict) {
    Tell(batch, attempt.status);
    return attempt;
  }
  // One by one each locks what it needs in the right order, so that somebody always gets on.
  for (Entry& entry : batch) {
    const std::span<Entry> single(&entry, 1);
    attempt = WriteOrReconnect(single);
    for (int i = 1; i < kMaxConflicts && attempt.ending == Ending::kConflict; ++i)
      attempt = WriteOrReconnect(single);
    Tell(single, attempt.status);
  }
  return attempt;
}

Writer::Attempt Writer::WriteOrReconnect(std::span<Entry> batch) {
  bool with_savepoints = false;
  for (bool is_again = false;; is_again = true) {
    if (absl::Status damage = damage_.damage(); !damage.ok())
      return {Ending::kDecided, std::move(damage)};
    if (absl::Status error = Connect(); !error.ok()) return {Ending::kNoConnection, error};
    Attempt attempt = WriteBatch(batch, with_savepoints);
    if (ReasonOf(attempt.status) == Reason::kStateCorrupt && connection_ != nullptr)
      damage_.Note(attempt.status);
    if (connection_ != nullptr && connection_->remedy() == Remedy::kReconnect) connection_.reset();
    if (!attempt.status.ok()) seen_.Remember(std::exchange(taken_seen_, {}));
    const bool tries_again = attempt.ending == Ending::kNeedsSavepoint && !with_savepoints;
    if (tries_again) with_savepoints = true;
    // Once: a server that loses every connection is not there.
    if (!tries_again && (attempt.ending != Ending::kNoConnection || is_again)) return attempt;
  }
}

absl::Status Writer::Connect() {
  if (connection_ != nullptr && connection_->IsAlive()) return absl::OkStatus();
  connection_.reset();
  ASSIGN_OR_RETURN(connection_, connector_.Connect(Connector::Use::kWriting));
  return absl::OkStatus();
}

Writer::Attempt Writer::WriteBatch(std::span<Entry> batch, bool with_savepoints) {
  state_ = {};
  connection_->ForgetChanges();
  bool needs_savepoints = false;
  absl::Status done = connection_->Prepare("BEGIN ISOLATION LEVEL READ COMMITTED").Run();
  if (done.ok()) done = NoteSeenTimes();
  if (done.ok()) done = RunWorks(batch, with_savepoints, needs_savepoints);
  if (done.ok()) done = state_.totals.Write(*connection_);
  if (!done.ok()) {
    Attempt attempt = GiveUp(done);
    if (needs_savepoints && attempt.ending == Ending::kDecided)
      attempt.ending = Ending::kNeedsSavepoint;
    return attempt;
  }
  return Commit(batch);
}

absl::Status Writer::NoteSeenTimes() {
  taken_seen_ = seen_.Take();
  connection_->BeginWork(-1);
  PostgresTransaction transaction(*connection_, DamagedChunks::Recipes::kSkipped, &state_);
  for (const auto& [id, time] : taken_seen_) RETURN_IF_ERROR(transaction.NoteSeen(id, time));
  return absl::OkStatus();
}

absl::Status Writer::RunWorks(std::span<Entry> batch, bool with_savepoints,
                              bool& needs_savepoints) {
  for (size_t i = 0; i < batch.size(); ++i) {
    Entry& entry = batch[i];
    const Totals totals_before = state_.totals;
    if (with_savepoints) RETURN_IF_ERROR(connection_->Prepare("SAVEPOINT work").Run());
    connection_->BeginWork(static_cast<int>(i));
    entry.result = RunWork(entry);
    if (with_savepoints && entry.result.ok()) entry.result = connection_->Flush();
    if (entry.result.ok()) {
      if (with_savepoints) RETURN_IF_ERROR(connection_->Prepare("RELEASE work").Run());
      continue;
    }
    entry.seen.clear();
    const Remedy remedy = connection_->remedy();
    if (remedy == Remedy::kRunAgain || remedy == Remedy::kReconnect) return entry.result;
    state_ = {totals_before, std::nullopt};
    if (with_savepoints) {
      RETURN_IF_ERROR(connection_->RollBack("ROLLBACK TO work"));
      RETURN_IF_ERROR(connection_->Prepare("RELEASE work").Run());
      continue;
    }
    // Most works that fail have changed nothing by then, and nothing is to be undone.
    const absl::Status flushed = connection_->Flush();
    if (!flushed.ok() || connection_->has_written()) {
      needs_savepoints = true;
      return entry.result;
    }
  }
  return absl::OkStatus();
}

absl::Status Writer::RunWork(Entry& entry) {
  PostgresTransaction transaction(*connection_, DamagedChunks::Recipes::kSkipped, &state_);
  RETURN_IF_ERROR(entry.work(transaction));
  entry.seen = transaction.seen();
  return absl::OkStatus();
}

Writer::Attempt Writer::GiveUp(const absl::Status& error) {
  const Remedy remedy = connection_->remedy();
  if (!connection_->is_lost()) connection_->RollBack().IgnoreError();
  if (connection_->is_lost()) return {Ending::kNoConnection, error};
  if (remedy == Remedy::kReconnect) {
    connection_.reset();
    return {Ending::kNoConnection, error};
  }
  return {remedy == Remedy::kRunAgain ? Ending::kConflict : Ending::kDecided, error};
}

Writer::Attempt Writer::Commit(std::span<Entry> batch) {
  const auto begin = std::chrono::steady_clock::now();
  bool is_unknown = false;
  const absl::Status committed = connection_->Commit(is_unknown);
  if (is_unknown) {
    connection_.reset();
    return {Ending::kUnknown, committed};
  }
  if (!committed.ok()) {
    // A statement whose answer nobody waited for failed, and so nothing was committed: with
    // savepoints it shows whose it was.
    Attempt attempt = GiveUp(committed);
    if (attempt.ending == Ending::kDecided) attempt.ending = Ending::kNeedsSavepoint;
    return attempt;
  }
  connector_.NoteAlive();
  taken_seen_.clear();
  for (Entry& entry : batch) seen_.Remember(entry.seen);
  for (const int work : connection_->changed()) changes_ += work >= 0 ? 1 : 0;
  const absl::Duration took = absl::FromChrono(std::chrono::steady_clock::now() - begin);
  metrics_.commit_duration.Observe(took);
  const bool all_are_patient =
      std::all_of(batch.begin(), batch.end(), [](const Entry& entry) { return entry.is_patient; });
  if (throttle_ != nullptr && !all_are_patient) throttle_->OnCommit(took);
  return {};
}

void Writer::Tell(std::span<Entry> batch, const absl::Status& committed) {
  for (const Entry& entry : batch) entry.done(committed.ok() ? entry.result : committed);
}

}  // namespace backup::storage::postgres
